"""The report's colours, light and dark, and its style sheet."""

from __future__ import annotations

LIGHT = {
    "page": "#f9f9f7", "surface": "#ffffff", "ink": "#0b0b0b", "soft": "#52514e",
    "line": "#e3e2dd", "axis": "#b9b8b2", "good": "#1a7544", "bad": "#b3261e",
    "mlpx": "#2a78d6", "torch": "#d95926", "jax": "#128a60", "keras": "#b47a00",
    "sklearn": "#d1447b", "thinc": "#4a3aa7", "onnxruntime": "#00726e", "gemm": "#7c7b76",
}  # fmt: skip
DARK = {
    "page": "#0d0d0d", "surface": "#1a1a19", "ink": "#f4f4f1", "soft": "#b9b8b0",
    "line": "#32312e", "axis": "#5c5b56", "good": "#4cc38a", "bad": "#ff8a80",
    "mlpx": "#5aa2f5", "torch": "#f08050", "jax": "#2fbf8c", "keras": "#dba32a",
    "sklearn": "#ee7fa9", "thinc": "#a79df2", "onnxruntime": "#34b8b2", "gemm": "#96958e",
}  # fmt: skip


def colour_of(library: str) -> str:
    """The light colour of a library's lines."""
    return LIGHT.get(library, LIGHT["gemm"])


def drawn_dark() -> str:
    """Rules that turn a drawing in light colours dark where the reader prefers that.

    Charts are drawn once, with the light colours in their `fill` and `stroke` attributes, and a
    style sheet outweighs attributes.
    """
    rules = "\n".join(
        f'svg [{part}="{light}"] {{ {part}: {DARK[name]}; }}'
        for name, light in LIGHT.items()
        for part in ("fill", "stroke")
    )
    return f"@media (prefers-color-scheme: dark) {{\n{rules}\n}}\n"


def _variables(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


CSS = (
    f"""
:root {{ color-scheme: light dark; {_variables(LIGHT)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} }} }}
"""
    + drawn_dark()
    + """
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 24px 20px 60px; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; }
h2 { font-size: 19px; margin: 36px 0 10px; }
h3 { font-size: 15px; margin: 22px 0 6px; font-weight: 600; }
p, li { max-width: 110ch; overflow-wrap: break-word; }
p { margin: 6px 0; }
.soft, ul { color: var(--soft); font-size: 14px; }
ul { padding-left: 18px; margin: 6px 0; }
.answers { display: grid; gap: 0 28px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 520px), 1fr)); }
.answers > div { min-width: 0; }
.answers th, .answers td { padding: 4px 5px; }
.answer { font-size: 18px; margin: 14px 0; }
.behind { color: var(--bad); }
.ahead { color: var(--good); }
.mean { font-weight: 600; }
figure { margin: 0; padding: 14px 14px 8px; background: var(--surface);
  border: 1px solid var(--line); border-radius: 8px; }
figure > div { width: 100%; min-height: 300px; }
figcaption { font-weight: 600; margin: 0 0 6px; }
figure + figure { margin-top: 16px; }
.scroll { overflow-x: auto; margin: 8px 0 14px; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums;
  background: var(--surface); }
th, td { padding: 4px 12px; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0;
  background: var(--surface); }
th { color: var(--soft); font-weight: 600; }
[title] { cursor: help; }
code { font: 13px ui-monospace, monospace; }
#vg-tooltip-element { position: fixed; z-index: 1; padding: 8px 10px; pointer-events: none;
  visibility: hidden; background: var(--surface); color: var(--ink); border: 1px solid var(--axis);
  border-radius: 6px; font: 13px/1.45 system-ui, sans-serif; }
#vg-tooltip-element.visible { visibility: visible; }
#vg-tooltip-element table { background: none; }
#vg-tooltip-element table tr td { border: 0; padding: 0 4px; background: none; text-align: left;
  position: static; white-space: normal; max-width: 300px; }
#vg-tooltip-element table tr td.key { color: var(--soft); white-space: nowrap; }
"""
)
