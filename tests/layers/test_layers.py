"""Every layer: its gradients, its step on a device, and that it can be saved and shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fakecupy
import numpy as np
import pytest
from around_a_layer import batch, network
from embedded import EMBEDDINGS
from stepping import Step, worst_errors

from mlpx import (
    L1,
    L2,
    MLP,
    ActivationLayer,
    AlphaDropout,
    BatchNorm,
    BestWeights,
    Dense,
    Dropout,
    ElasticNet,
    GaussianNoise,
    Layer,
    LayerNorm,
    Rescale,
    Residual,
    RMSNorm,
)
from mlpx.engines import Interpreter
from mlpx.optimizers import Adam
from mlpx.program.data import TrainingData
from mlpx.program.program import TrainingProgram
from mlpx.schedules import Cosine

GRADIENT_BOUND = 1e-7
# Layers that have no defaults for all of their fields, or whose defaults hide something.
SPECIAL: dict[str, Layer] = {
    "dense": Dense(5, activation="tanh"),
    "rescale": Rescale(0.5, 0.1),
    "activation": ActivationLayer("prelu"),
    "dropout": Dropout(0.4),
    **EMBEDDINGS,
    "residual": Residual(["batch_norm", Dense(7, activation="tanh"), Dropout(0.3), Dense(5)]),
}
LAYERS = {name: SPECIAL.get(name) or Layer.resolve(name) for name in sorted(Layer.table)}
LAYERS["dropout by schedule"] = Dropout(Cosine(0.6, 12))


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest) -> Layer:
    """One of each layer; 5 columns go in."""
    return LAYERS[request.param]


@pytest.fixture
def device() -> Iterator[Any]:
    """The fake CuPy."""
    with fakecupy.installed() as cupy:
        yield cupy


def stir(model: MLP) -> None:
    """Values that are neither 0 nor 1, so that no factor or offset hides."""
    rng = np.random.default_rng(11)
    for name, p in model.parameters.items():
        if name.rsplit(".", 1)[1] in ("a", "b", "beta", "gamma", "s"):
            p[...] += rng.uniform(-0.4, 0.4, size=p.shape)


def test_gradients(layer: Layer) -> None:
    model = network(layer)
    stir(model)
    errors = worst_errors(Step(model, *batch(), step=3), h=1e-4)
    assert {"0.W", "0.b", "2.W", "2.b"} <= set(errors)
    assert {n: e for n, e in errors.items() if not e < GRADIENT_BOUND} == {}


@pytest.mark.parametrize("n", [2, 3])
def test_gradients_of_few_rows(layer: Layer, n: int) -> None:
    model = network(layer)
    stir(model)
    x, y = batch(n)
    errors = worst_errors(Step(model, x, y), h=2e-5)
    assert {n: e for n, e in errors.items() if not e < GRADIENT_BOUND} == {}


def test_gradients_where_the_layer_comes_first(layer: Layer) -> None:
    inside = Residual([Dense(4, activation="tanh")]) if layer.name == "residual" else layer
    model = MLP([4, inside, Dense(6, activation="tanh"), 3], dtype="float64")
    stir(model)
    errors = worst_errors(Step(model, *batch()), h=1e-4)
    assert {n: e for n, e in errors.items() if not e < GRADIENT_BOUND} == {}


def test_float32_follows_float64(layer: Layer) -> None:
    models = [network(layer, dtype=dtype) for dtype in ("float64", "float32")]
    stir(models[0])
    models[1].set_parameters(dict(models[0].parameters))
    exact, single = (Step(model, *batch()).gradients() for model in models)
    eps = np.finfo(np.float32).eps
    for name, g in exact.items():
        assert single[name].dtype == np.float32
        # sums of at most 13 products through four layers, of elements up to 3 or so
        np.testing.assert_allclose(single[name], g, rtol=0, atol=64 * eps * max(1, abs(g).max()))


def test_saved_and_resumed_training_is_the_same(layer: Layer, tmp_path: Any) -> None:
    x, y = batch(33)
    straight, first = network(layer, penalty="l2"), network(layer, penalty="l2")
    options = {"batch_size": 8, "verbose": 0}
    straight.fit(x, y, epochs=4, **options)
    first.fit(x, y, epochs=2, **options)
    first.save(tmp_path / "model")
    second = MLP.load(tmp_path / "model")
    np.testing.assert_array_equal(second.predict_logits(x), first.predict_logits(x))
    assert second.config() == first.config()
    assert second.layers == first.layers
    second.fit(x, y, epochs=2, **options)
    np.testing.assert_array_equal(second.flat, straight.flat)
    np.testing.assert_array_equal(second.predict_logits(x), straight.predict_logits(x))


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_training_resumes_within_an_epoch(layer: Layer, where: str, device: Any) -> None:
    x, y = batch(33)
    straight, parts = network(layer, device=where), network(layer, device=where)
    options = {"batch_size": 8, "verbose": 0}
    straight.fit(x, y, steps=9, **options)
    for steps in (3, 1, 5):
        parts.fit(x, y, steps=steps, **options)
    flats = [model.backend.to_numpy(model.flat) for model in (straight, parts)]
    np.testing.assert_array_equal(*flats)


def test_step_on_a_device_neither_allocates_nor_waits(layer: Layer, device: Any) -> None:
    model = network(layer, device="cuda", penalty="elastic_net")
    x, y = batch(33)
    asarray, rule = model.backend.asarray, Adam()
    program = TrainingProgram(
        model,
        TrainingData(asarray(x), asarray(y), None),
        optimizer=rule,
        moments={
            name: model.backend.zeros(model.layout.size, model.dtype) for name in rule.moments
        },
        batch_size=8,
        rows=33,
    )
    run = Interpreter().prepare(program)
    program.start_epoch(np.arange(33), step=0)
    device.counters.reset()
    run(program.full, program.full_steps)
    run(program.last, 1)
    assert vars(device.counters) == dict.fromkeys(vars(device.counters), 0)


def test_both_devices_train_alike(layer: Layer, device: Any) -> None:
    flats, outputs = [], []
    x, y = batch(33)
    for where in ("cpu", "cuda"):
        model = network(layer, device=where, penalty="l1")
        model.fit(x, y, epochs=1, batch_size=8, verbose=0)
        flats.append(model.backend.to_numpy(model.flat))
        outputs.append(model.backend.to_numpy(model.predict_logits(x)))
    np.testing.assert_allclose(flats[1], flats[0], rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-12, atol=1e-14)


def test_prediction_is_the_same_in_any_chunks(layer: Layer) -> None:
    model = network(layer)
    x, y = batch(33)
    model.fit(x, y, epochs=1, verbose=0)
    whole = model.predict_logits(x)
    np.testing.assert_allclose(model.predict_logits(x, batch_size=1), whole, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(model.predict_logits(x[::-1])[::-1], whole, rtol=1e-12, atol=1e-14)


def test_summary_shows_the_layer(layer: Layer) -> None:
    model = network(layer)
    (line,) = (line for line in model.summary().splitlines() if line.startswith("1 "))
    assert layer.name in line
    for parameter in layer.parameters(5):
        assert f"{parameter.name} {parameter.shape}" in line
    learnt = sum(p.size for p in layer.parameters(5) if p.kind != "state")
    assert line.split()[-1] == str(learnt)
    assert model.parameter_count == 25 + 3 * (layer.outputs(5) + 1) + learnt


@pytest.mark.parametrize(
    ("layer", "text"),
    [(Dropout(0.25), "dropout 0.25"), (GaussianNoise(0.5), "gaussian_noise 0.5"),
     (Dropout(Cosine(0.25)), "dropout cosine"),
     (Residual([Dense(5), "relu"]), "residual(dense identity, activation relu)")],
)  # fmt: skip
def test_summary_tells_layers_of_one_kind_apart(layer: Layer, text: str) -> None:
    assert f"1 {text} " in network(layer).summary()


def test_state_is_not_learnt_but_saved_moved_and_restored(device: Any) -> None:
    model = network(BatchNorm())
    assert set(model.parameters) >= {"1.mean", "1.variance"}
    assert not {"1.mean", "1.variance"} & set(model.layout.gradients(model.flat))
    places = model.layout.places
    assert {n for n, place in places.items() if place.start >= model.layout.learnt} == {
        "1.mean", "1.variance"
    }  # fmt: skip
    x, y = batch(33)
    model.fit(x, y, epochs=1, verbose=0)
    mean = model.parameters["1.mean"].copy()
    assert (mean != 0).all()
    model.to("cuda").to("cpu")
    np.testing.assert_array_equal(model.parameters["1.mean"], mean)


class Watched(BestWeights):
    """Keeps the running mean of the first epoch, and calls every later one worse."""

    def improved(self, epoch: int, logs: Any) -> bool:
        return epoch == 0

    def keep(self, run: Any) -> None:
        super().keep(run)
        self.mean = run.model.parameters["1.mean"].copy()


def test_best_weights_bring_back_their_statistics() -> None:
    model, watched = network(BatchNorm()), Watched("loss")
    model.fit(*batch(33), epochs=4, callbacks=[watched], verbose=0)
    np.testing.assert_array_equal(model.parameters["1.mean"], watched.mean)


def test_weight_decay_of_everything_leaves_the_statistics() -> None:
    model = network(BatchNorm(momentum=0), penalty=L2(0.5))
    model.fit(*batch(33), epochs=2, learning_rate=0.5, optimizer="sgd", verbose=0)
    np.testing.assert_array_equal(model.parameters["1.mean"], np.zeros(5))
    np.testing.assert_array_equal(model.parameters["1.variance"], np.ones(5))


def test_blocks_nest() -> None:
    inner = Residual([Dropout(0.2), Dense(5, activation="tanh")])
    model = network(Residual([inner, "layer_norm", inner]))
    stir(model)
    assert "1.0.1.W" in model.parameters
    assert max(worst_errors(Step(model, *batch(), step=1), h=1e-4).values()) < GRADIENT_BOUND
    assert MLP.from_config(model.config()).layers == model.layers


@pytest.mark.parametrize(
    ("record", "defaults"),
    [
        (Dropout(), {"rate": 0.5}),
        (AlphaDropout(), {"rate": 0.05}),
        (GaussianNoise(), {"std": 0.1}),
        (BatchNorm(), {"momentum": 0.1, "epsilon": 1e-5}),
        (LayerNorm(), {"epsilon": 1e-5}),
        (RMSNorm(), {"epsilon": 1e-6}),
        (L1(), {"strength": 1e-4}),
        (L2(), {"strength": 1e-4, "per_row": False}),
        (ElasticNet(), {"l1": 1e-4, "l2": 1e-4}),
    ],
)
def test_defaults(record: Any, defaults: dict[str, float]) -> None:
    assert record.config() == {"kind": record.kind, "name": record.name, **defaults}


def test_no_gradient_goes_where_nothing_learns() -> None:
    model = MLP([4, Rescale(2.0), "tanh", Dropout(0.5), GaussianNoise(), "tanh", 3])
    step = Step(model, *batch())
    backward = [c.kernel.__name__ for c in step.plan.calls if c.kernel.__name__ == "backward"]
    assert backward == ["backward"]  # of the Dense layer alone
    assert step.plan.calls[-1].keywords["dx"] is None
