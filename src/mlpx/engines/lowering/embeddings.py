"""The translations of embeddings."""

from __future__ import annotations

from typing import Any

from mlpx.engines.lowering.operations import Access, access
from mlpx.engines.lowering.translator import Translator, translates
from mlpx.kernels import embedding
from mlpx.plan.plan import Call
from mlpx.types import Array


def _by_rows(to: Translator, given: dict[str, Array], fixed: dict[str, Array], out: Array) -> Any:
    """What `emit` needs of an operation that makes `out` (n, d) row by row of the rows `given`,
    with arrays of which each row needs some.
    """
    rows, columns = out.shape
    touches = (
        *to.rows_divided(*given.values()),
        *to.undivided(*fixed.values()),
        *to.rows_divided(out, writes=True),
    )
    return {"rows": rows, "columns": columns, **given, **fixed, "out": out, "touches": touches}


def _summed(to: Translator, read: list[Array], *written: Array) -> tuple[Access, ...]:
    """Access to what sums over all rows read, and write; threads divide it as kernels like."""
    writes = (access(a, writes=True, division=("sums", a.shape)) for a in written)
    return (*to.undivided(*read), *writes)


@translates(embedding.look_up)
def _look_up(to: Translator, call: Call) -> None:
    (_, x, E), given = call.arguments, call.keywords
    codes, width = given["index"].shape[1], E.shape[1]
    fixed = {"E": E, "starts": given["starts"]}
    by_rows = _by_rows(to, {"x": x}, fixed, given["out"])
    to.emit("look_up", inputs=x.shape[1], codes=codes, width=width, **by_rows)


@translates(embedding.look_up_backward)
def _look_up_backward(to: Translator, call: Call) -> None:
    (dy, x), given = call.arguments, call.keywords
    dE, (rows, inputs) = given["dE"], x.shape
    to.emit(
        "look_up_sums",
        entries=dE.shape[0],
        rows=rows,
        inputs=inputs,
        codes=len(given["sizes"]),
        width=dE.shape[1],
        x=x,
        dy=dy,
        starts=given["starts"],
        dE=dE,
        touches=_summed(to, [x, dy, given["starts"]], dE),
        late=True,
    )


@translates(embedding.look_up_dx)
def _look_up_dx(to: Translator, call: Call) -> None:
    (dy,), given = call.arguments, call.keywords
    by_rows = _by_rows(to, {"dy": dy}, {}, given["out"])
    to.emit("look_up_dx", outputs=dy.shape[1], codes=given["codes"], **by_rows)


@translates(embedding.waves)
def _waves(to: Translator, call: Call) -> None:
    x, w, b, V, c = call.arguments
    by_rows = _by_rows(to, {"x": x}, {"w": w, "b": b, "V": V, "c": c}, call.keywords["out"])
    to.emit("waves", inputs=x.shape[1], **_sizes(V), **by_rows)


@translates(embedding.waves_backward)
def _waves_backward(to: Translator, call: Call) -> None:
    (dy, x, w, b, V), given = call.arguments, call.keywords
    fixed, sizes = {"w": w, "b": b, "V": V}, _sizes(V)
    if given["dx"] is not None:
        by_rows = _by_rows(to, {"x": x, "dy": dy}, fixed, given["dx"])
        to.emit("waves_dx", outputs=dy.shape[1], **sizes, **by_rows)
    written = {name: given[name] for name in ("dw", "db", "dV", "dc")}
    rows, inputs = x.shape
    touches = _summed(to, [x, dy, w, b, V], *written.values())
    to.emit(
        "waves_sums",
        rows=rows,
        all_waves=b.size,
        inputs=inputs,
        **sizes,
        x=x,
        dy=dy,
        **fixed,
        **written,
        touches=touches,
        late=True,
    )


def _sizes(V: Array) -> dict[str, Any]:
    """How many columns are embedded, how wide each becomes, and by how many waves."""
    embedded, waves, more = V.shape
    return {"embedded": embedded, "width": more + 1, "waves": waves}


@translates(embedding.pieces)
def _pieces(to: Translator, call: Call) -> None:
    (x, V, c), given = call.arguments, call.keywords
    by_rows = _by_rows(to, {"x": x}, {**_edges(given), "V": V, "c": c}, given["out"])
    to.emit("pieces", inputs=x.shape[1], embedded=len(c), width=V.shape[1], **by_rows)


@translates(embedding.pieces_backward)
def _pieces_backward(to: Translator, call: Call) -> None:
    (dy, x), given = call.arguments, call.keywords
    dV, dc, (rows, inputs) = given["dV"], given["dc"], x.shape
    bins, width = dV.shape
    sizes: dict[str, Any] = {"bins": bins, "rows": rows, "inputs": inputs}
    sizes |= {"embedded": len(dc), "width": width}
    read = {"x": x, "dy": dy, **_edges(given)}
    touches = _summed(to, [*read.values()], dV, dc)
    to.emit("pieces_sums", **sizes, **read, dV=dV, dc=dc, touches=touches, late=True)


@translates(embedding.pieces_dx)
def _pieces_dx(to: Translator, call: Call) -> None:
    (dy, x, V), given = call.arguments, call.keywords
    by_rows = _by_rows(to, {"x": x, "dy": dy}, {**_edges(given), "V": V}, given["out"])
    embedded, width = len(given["bins"]), V.shape[1]
    to.emit("pieces_dx", outputs=dy.shape[1], embedded=embedded, width=width, **by_rows)


def _edges(given: dict[str, Any]) -> dict[str, Array]:
    return {name: given[name] for name in ("left", "size", "starts")}
