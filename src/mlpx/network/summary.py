"""The table that `MLP.summary` returns."""

from __future__ import annotations

from mlpx.layers import Layer
from mlpx.network.network import Network


def summarise(model: Network) -> str:
    """Layers, output widths, parameter shapes and counts as text."""
    rows = [("layer", "output", "parameters", "count"), ("input", f"(n, {model.d_in})", "", "")]
    for i, layer in enumerate(model.layers):
        owned = layer.parameters(model.widths[i])
        shapes = ", ".join(f"{parameter.name} {parameter.shape}" for parameter in owned)
        count = sum(parameter.size for parameter in owned if parameter.kind != "state")
        rows.append(
            (f"{i} {_describe(layer)}", f"(n, {model.widths[i + 1]})", shapes, f"{count:,}")
        )
    sizes = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join(
            [*(cell.ljust(size) for cell, size in zip(row[:3], sizes, strict=False)),
             row[3].rjust(sizes[3])]
        ).rstrip()
        for row in rows
    ]  # fmt: skip
    rule = "-" * max(map(len, lines))
    total = (
        f"{model.parameter_count:,} parameters, {model.parameter_count * model.dtype.itemsize:,} "
        f"bytes of {model.dtype}; loss {model.loss.name}; {model.device}"
    )
    return "\n".join([lines[0], rule, *lines[1:], rule, total])


def _describe(layer: Layer) -> str:
    """A layer's name and main argument: `dropout 0.5`, `dense relu`."""
    if layer.inner:
        return f"{layer.name}({', '.join(map(_describe, layer.inner))})"
    for field in ("activation", "rate", "columns", "std"):
        value = getattr(layer, field, None)
        if value is not None:
            return f"{layer.name} {getattr(value, 'name', value)}"
    return layer.name
