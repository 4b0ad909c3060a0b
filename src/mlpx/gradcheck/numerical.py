"""Numerical gradients, in three forms that differ in how many networks they compute at a time.

`loop` is the definition: change one parameter, run the network, change it back. `batched` stacks
many copies of the network, each with another parameter changed, and runs them by one matrix product
of (p, n, d) and (p, d, k) for each layer. `rank_one` makes no copies: W_ij + h only adds h x_i to
column j of the layer's z, so only f(z_j) is computed again, and the change of the next layer's z
is a product of rank one with row j of W. From there on p networks are p n rows of one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlpx.engines.predict import ForwardProgram, chunks
from mlpx.errors import InputError
from mlpx.layers import Dense, Layer, Rescale
from mlpx.optimizers import SGD
from mlpx.program.data import TrainingData, prepare_data
from mlpx.program.gradients import GradientRule, Numerical, default_step, learnt
from mlpx.program.program import TrainingProgram
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.mlp import MLP

ELEMENTS = 1 << 15
"""Elements of a layer's outputs over all networks computed at a time; more would leave the cache.
"""
MOST = 256
"""Most networks computed at a time: with more, the overhead of a call no longer matters."""


def numerical_gradient(
    model: MLP,
    x: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    method: Literal["central", "forward"] = "central",
    form: Literal["loop", "batched", "rank_one"] = "loop",
    step: float | None = None,
) -> dict[str, Array]:
    """The gradient of the mean loss of x (n, d_in) and y by difference quotients, in float64.

    A mapping of each parameter's name to an array of its shape, on the model's device. `method` and
    `step` are those of `mlpx.program.gradients.Numerical`; `form` is a key of `FORMS`: "loop" takes
    every layer, the others Dense and Rescale. The model is not changed, whatever its dtype.

    Raises InputError or InputTypeError.
    """
    rule = Numerical(method, step)
    if form not in FORMS:
        raise InputError(f"form = {form!r}; it must be one of {list(FORMS)}")
    twin = copy_of(model, "float64")
    data = prepare_data(twin, x, y, sample_weight)
    views = twin.layout.views(FORMS[form](twin, data, rule))
    return {name: views[name] for name in sorted(views) if name in gradients_of(twin)}


def gradients_of(model: MLP) -> list[str]:
    """The parameters that have a gradient."""
    places = model.layout.places
    return sorted(name for name in places if places[name].parameter.kind != "state")


def copy_of(model: MLP, dtype: Any) -> MLP:
    """A model of the same layers and parameters, in another dtype."""
    twin = type(model)(
        [model.d_in, *model.layers],
        loss=model.loss, dtype=dtype, seed=model.seed, device=model.backend,
    )  # fmt: skip
    twin.set_parameters(model.parameters)
    return twin


def whole_batch(model: MLP, data: TrainingData, rule: GradientRule) -> TrainingProgram:
    """The training program whose first step sees all of `data`."""
    program = TrainingProgram(
        model,
        data,
        optimizer=SGD(),
        moments={},
        batch_size=len(data),
        rows=len(data),
        gradient_rule=rule,
    )
    program.start_epoch(np.arange(len(data)), step=0)
    return program


def run_gradient(program: TrainingProgram) -> Array:
    """The flat gradient of the program's first step, which stops there."""
    plan, xp = program.full, program.network.backend.xp
    assert plan is not None
    with np.errstate(all="ignore"):
        for call in plan.calls[: plan.gradient_stop]:
            call.bind(xp)()
    return program.gradient


def loop(model: MLP, data: TrainingData, rule: Numerical) -> Array:
    """The flat gradient, changing one parameter after the other."""
    return run_gradient(whole_batch(model, data, rule))


def batched(model: MLP, data: TrainingData, rule: Numerical) -> Array:
    """The flat gradient, from many copies of the network at a time."""
    chain, backend = Chain(model, data, "batched"), model.backend
    spots = np.concatenate([np.asarray(span) for span in learnt(model.layout)])

    def losses(at: Array, h: float) -> Array:
        copies = backend.xp.repeat(model.flat[None, :], len(at), axis=0)  # (p, size)
        copies[backend.asarray(np.arange(len(at))), at] += h
        return chain.losses(chain.run(chain.x, copies))

    g = backend.zeros(model.layout.size, model.dtype)
    for part in chunks(len(spots), chain.networks):
        at = backend.asarray(spots[part])
        g[at] = quotients(partial(losses, at), rule, model.dtype)
    return g


def rank_one(model: MLP, data: TrainingData, rule: Numerical) -> Array:
    """The flat gradient, from changed columns of each layer's output."""
    chain = Chain(model, data, "rank_one")
    g = model.backend.zeros(model.layout.size, model.dtype)
    views, x = model.layout.views(g), chain.x
    for number in range(len(model.layers)):
        z = chain.affine(number, x, model.flat)  # (n, k)
        y = chain.activate(number, z)
        follow = chain.follow(number, z, y)
        for name, inputs in chain.inputs(number, x):
            flat = views[name].reshape(-1)
            for part in chunks(len(flat), chain.networks):
                rows, columns = np.divmod(np.arange(len(flat))[part], z.shape[1])
                losses = partial(follow, inputs[rows], columns)
                flat[part] = quotients(losses, rule, model.dtype)
        x = y
    return g


def quotients(losses: Callable[[float], Array], rule: Numerical, dtype: Any) -> Array:
    """The difference quotients of losses(h) (p,)."""
    h = rule.step or default_step(rule.method, dtype)
    if rule.method == "central":
        return (losses(h) - losses(-h)) / (2 * h)
    return (losses(h) - losses(0.0)) / h


class Chain:
    """A net of Dense and Rescale layers in plain array expressions, for p networks at a time.

    Raises InputError for other layers: those that mix rows or draw at random have no such short
    form.
    """

    def __init__(self, model: MLP, data: TrainingData, form: str) -> None:
        for number, layer in enumerate(model.layers):
            if not _is_plain(layer):
                raise InputError(
                    f"form = {form!r} is for plain Dense and Rescale layers; layer {number} is "
                    f"{layer!r}: use form='loop'"
                )
        backend, n = model.backend, len(data)
        self.model, self.xp, self.n = model, backend.xp, n
        self.x = data.x.astype(model.dtype)
        w = backend.asarray(np.ones((n, 1))) if data.weights is None else data.weights
        self.r = (w / w.sum())[:, 0]
        # In rank_one the widest array follows the changed layer.
        widest = max(model.widths[2:] if form == "rank_one" else model.widths, default=1)
        self.networks = max(1, min(MOST, ELEMENTS // (n * widest)))
        self.y = self.xp.concatenate([data.y] * self.networks)
        self.forward = ForwardProgram(model, rows=self.networks * n)

    def inputs(self, number: int, x: Array) -> Iterator[tuple[str, Array]]:
        """Each parameter of a layer, and what multiplies its rows: (d, n)."""
        names = self.model.layout.places
        if f"{number}.W" in names:
            yield f"{number}.W", x.T
        if f"{number}.b" in names:
            yield f"{number}.b", self.xp.ones((1, self.n), self.model.dtype)

    def affine(self, number: int, x: Array, flat: Array) -> Array:
        """x (..., n, d) to z (..., n, k) by the parameters in flat (size,) or (p, size)."""
        layer = self.model.layers[number]
        if isinstance(layer, Rescale):
            return x * layer.scale + layer.offset
        z = self.xp.matmul(x, self._view(flat, f"{number}.W"))
        if f"{number}.b" in self.model.layout.places:
            z += self._view(flat, f"{number}.b")
        return z

    def _view(self, flat: Array, name: str) -> Array:
        place = self.model.layout.places[name]
        shape = (1, *place.parameter.shape)[-2:]  # b is (1, k), to add to (p, n, k)
        return flat[..., place.start : place.stop].reshape(*flat.shape[:-1], *shape)

    def activate(self, number: int, z: Array) -> Array:
        """The layer's activation of z (..., k)."""
        layer, empty = self.model.layers[number], self.model.backend.empty
        if not isinstance(layer, Dense):
            return z
        f, rows = layer.nonlinearity, z.reshape(-1, z.shape[-1])
        widths = [z.shape[-1]] * (1 + f.scratch) + [1] * f.columns
        out, *work = (empty((len(rows), width), z.dtype) for width in widths)
        f.forward(self.xp, rows, out=out, work=tuple(work))
        return out.reshape(z.shape)

    def run(self, x: Array, flat: Array, *, first: int = 0) -> Array:
        """The outputs for x (..., n, d) that enters layer `first`."""
        for number in range(first, len(self.model.layers)):
            x = self.activate(number, self.affine(number, x, flat))
        return x

    def follow(
        self, number: int, z: Array, y: Array
    ) -> Callable[[Array, np.ndarray, float], Array]:
        """The losses (p,) with h inputs_p (n,) added to column columns_p of a layer's z (n, k)."""
        xp, backend, last = self.xp, self.model.backend, number + 1 == len(self.model.layers)
        layer = None if last else self.model.layers[number + 1]
        short = isinstance(layer, Dense) and self._elementwise(number)
        if short:
            after = self.affine(number + 1, y, self.model.flat)
            W = self._view(self.model.flat, f"{number + 1}.W")

        def by_column(inputs: Array, columns: np.ndarray, h: float) -> Array:
            at = backend.asarray(columns)
            moved = self.activate(number, (z.T[at] + h * inputs)[:, :, None])  # (p, n, 1)
            moved -= y.T[at][:, :, None]
            z_next = after + moved * W[at][:, None, :]  # (p, n, k of the next layer)
            rows = self.activate(number + 1, z_next).reshape(-1, z_next.shape[-1])
            return self.losses(self.run(rows, self.model.flat, first=number + 2))

        def whole(inputs: Array, columns: np.ndarray, h: float) -> Array:
            several = xp.repeat(z[None, :, :], len(inputs), axis=0)  # (p, n, k)
            each = backend.asarray(np.arange(len(inputs)))
            several[each, :, backend.asarray(columns)] += h * inputs
            rows = self.activate(number, several).reshape(-1, z.shape[1])
            return self.losses(self.run(rows, self.model.flat, first=number + 1))

        return by_column if short else whole

    def _elementwise(self, number: int) -> bool:
        layer = self.model.layers[number]
        return not isinstance(layer, Dense) or layer.nonlinearity.elementwise

    def losses(self, z: Array) -> Array:
        """The mean losses (p,) of outputs z of p networks, (p, n, k) or (p n, k)."""
        z = z.reshape(-1, z.shape[-1])
        rows = self.forward.losses(z, self.y[: len(z)])
        return rows.reshape(-1, self.n) @ self.r


def _is_plain(layer: Layer) -> bool:
    if type(layer) is Rescale:
        return True
    if type(layer) is not Dense:
        return False
    return all(p.name in ("W", "b") and p.penalty is None for p in layer.parameters(1))


FORMS = {"loop": loop, "batched": batched, "rank_one": rank_one}
"""Each form of `numerical_gradient` as a function of a float64 model, its data and the rule."""
