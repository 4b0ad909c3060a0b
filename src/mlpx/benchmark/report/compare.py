"""Two benchmark documents side by side: what became slower, as far as the intervals can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mlpx.benchmark.report.document import Document, results_by_key, summary
from mlpx.benchmark.statistics import ratio
from mlpx.errors import InputError

Outcome = Literal["slower", "faster", "same", "unclear", "missing"]
SAME_HARDWARE = (("cpu", "model"), ("threads",), ("machine", "architecture"))


@dataclass(frozen=True)
class Change:
    """One result in both documents: time of a step in B over that in A."""

    key: tuple[Any, ...]
    outcome: Outcome
    ratio: float | None
    low: float | None
    high: float | None
    reason: str = ""


def parse_share(text: str) -> float:
    """`5%` or `0.05` as 0.05.

    Raises InputError.
    """
    number = text.strip()
    scale = 0.01 if number.endswith("%") else 1.0
    try:
        share = float(number.removesuffix("%")) * scale
    except ValueError:
        share = -1.0
    if not 0 <= share < 10:
        raise InputError(
            f"share = {text!r}; wanted a percentage such as 5% or a share such as 0.05"
        )
    return share


def compare(a: Document, b: Document, *, share: float = 0.05) -> list[Change]:
    """Every result with figures in A, against B.

    "slower" only if the whole interval of the ratio lies above 1 + share, "faster" only if it lies
    below 1 / (1 + share), "same" only if it lies between them; otherwise "unclear". "missing": B
    has no figure.
    """
    after = dict(results_by_key(b))
    return [
        _change(key, before, after.get(key), share)
        for key, before in results_by_key(a)
        if before["status"] == "ok"
    ]


def _change(
    key: tuple[Any, ...], before: dict[str, Any], after: dict[str, Any] | None, share: float
) -> Change:
    if after is None or after["status"] != "ok":
        reason = "not measured" if after is None else f"{after['status']}: {after['reason']}"
        return Change(key, "missing", None, None, None, reason)
    middle, low, high = ratio(summary(after), summary(before))
    return Change(key, _outcome(low, high, share), middle, low, high)


def _outcome(low: float, high: float, share: float) -> Outcome:
    if low > 1 + share:
        return "slower"
    if high < 1 / (1 + share):
        return "faster"
    if low >= 1 / (1 + share) and high <= 1 + share:
        return "same"
    return "unclear"


def differences(a: Document, b: Document) -> list[str]:
    """What makes the two hard to compare: other hardware, threads or libraries."""
    notes = []
    for path in SAME_HARDWARE:
        left, right = (_at(document["environment"], path) for document in (a, b))
        if left != right:
            notes.append(f"{' '.join(path)}: {left} and {right}")
    for name in sorted(set(a["versions"]) & set(b["versions"])):
        if a["versions"][name] != b["versions"][name]:
            notes.append(f"{name}: {a['versions'][name]} and {b['versions'][name]}")
    return notes


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value[name]
    return value


def has_regressed(changes: list[Change]) -> bool:
    """Whether ours became slower, or lost a figure by a wrong result or a failure."""
    return any(
        change.outcome == "slower"
        or (change.outcome == "missing" and change.reason.startswith(("wrong", "failed")))
        for change in changes
        if str(change.key[-1]).startswith("mlpx/")
    )
