"""The report's style sheet: one set of names, two sets of colours."""

from __future__ import annotations

LIGHT = """
  --page: #f9f9f7; --surface: #ffffff; --ink: #0b0b0b; --soft: #52514e; --line: #e3e2dd;
  --axis: #b9b8b2; --mlpx: #2a78d6; --torch: #d95926; --jax: #128a60; --keras: #b47a00;
  --sklearn: #d1447b; --thinc: #4a3aa7; --onnxruntime: #00726e; --gemm: #7c7b76;
"""
DARK = """
  --page: #0d0d0d; --surface: #1a1a19; --ink: #f4f4f1; --soft: #b9b8b0; --line: #32312e;
  --axis: #5c5b56; --mlpx: #5aa2f5; --torch: #f08050; --jax: #2fbf8c; --keras: #dba32a;
  --sklearn: #ee7fa9; --thinc: #a79df2; --onnxruntime: #34b8b2; --gemm: #96958e;
"""
CSS = (
    """
:root { color-scheme: light dark;"""
    + LIGHT
    + """}
@media (prefers-color-scheme: dark) { :root {"""
    + DARK
    + """} }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1360px; padding: 24px 20px 60px; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 26px; margin: 0 0 8px; }
h2 { font-size: 19px; margin: 36px 0 10px; }
h3 { font-size: 15px; margin: 0 0 6px; font-weight: 600; }
p, li { max-width: 110ch; }
ul.plain { padding-left: 18px; margin: 6px 0; color: var(--soft); font-size: 14px; }
.charts { display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); }
figure { margin: 0; padding: 14px 14px 8px; background: var(--surface);
  border: 1px solid var(--line); border-radius: 8px; }
.wide { grid-column: 1 / -1; overflow-x: auto; } .wide > svg { min-width: 660px; }
figure svg { width: 100%; height: auto; display: block; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 10px 0; padding: 0;
  list-style: none; font-size: 13.5px; }
.legend li { display: flex; align-items: center; gap: 7px; }
.key { width: 34px; height: 14px; flex: none; }
.label { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.note { fill: var(--ink); font-size: 12px; }
.grid { stroke: var(--line); }
.axis, .tick { stroke: var(--axis); }
.reference { stroke: var(--soft); stroke-dasharray: 3 4; }
.crossover { stroke: var(--ink); stroke-dasharray: 5 4; opacity: .7; }
.series polyline { fill: none; stroke: var(--hue); stroke-width: 2; stroke-linejoin: round; }
.mlpx polyline { stroke-width: 3; }
.interval { stroke: var(--hue); stroke-width: 1.5; fill: none; opacity: .75; }
.solid { fill: var(--hue); stroke: var(--surface); stroke-width: 1.2; }
.hollow { fill: var(--surface); stroke: var(--hue); stroke-width: 1.8; }
.hit { fill: transparent; }
.series g:hover .solid, .series g:hover .hollow { stroke: var(--ink); stroke-width: 2; }
.scroll { overflow-x: auto; margin: 12px 0; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums;
  background: var(--surface); }
th, td { padding: 4px 12px; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0;
  background: var(--surface); }
th { color: var(--soft); font-weight: 600; }
details { margin: 12px 0; } summary { cursor: pointer; color: var(--soft); }
code { font: 13px ui-monospace, monospace; }
"""
)
