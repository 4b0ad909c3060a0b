"""The end of a classifier is one launch if it fits, with the results of separate ones."""

from __future__ import annotations

from typing import Any

import cudasim
import numpy as np
import pytest

from mlpx import MLP, SGD, Dense, Rescale, Residual
from mlpx.engines.cuda import composed, heads, kernels, runner
from mlpx.engines.cuda.graphs import needs
from mlpx.engines.cuda.heads import MOST_OUTPUTS, codes
from mlpx.engines.lowering import Operation

pytestmark = [
    pytest.mark.usefixtures("fake_cupy"),
    pytest.mark.skipif(cudasim.compiler() is None, reason="no C++ compiler"),
]
PARTS = {"softmax_loss", "weighted_mean", "correct"}


def fit(layers: list[Any], monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    """The operations of a full step, the history, the parameters and the runner."""
    made = list[runner.CudaRunner]()
    planned = runner.CudaRunner.__init__

    def keep(self: runner.CudaRunner, *given: Any) -> None:
        planned(self, *given)
        made.append(self)

    monkeypatch.setattr(runner.CudaRunner, "__init__", keep)
    rng = np.random.default_rng(4)
    y = options.pop("y", rng.integers(0, 3, size=22))
    x = options.pop("x", rng.normal(size=(22, layers[0])))
    given = {"epochs": 2, "batch_size": 6, "verbose": 0, "engine": "cuda"} | options
    penalty = given.pop("penalty", None)
    model = MLP(layers, device="cuda", dtype="float64", activation="tanh", seed=3, penalty=penalty)
    history = model.fit(x, y, **given)
    flat = model.backend.to_numpy(model.flat)
    if not made:
        return [], history, flat, None
    found = [operation for operation, _ in made[-1].replayer.launches[id(made[-1].program.full)]]
    return found, history, flat, made[-1]


def names(operations: list[Operation]) -> list[str]:
    return [operation.name for operation in operations]


def test_a_step_is_few_launches_of_which_four_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = np.random.default_rng(1).integers(0, 256, size=(22, 7)).astype(np.uint8)
    found = fit([7, Rescale(1 / 255), 6, 4], monkeypatch, x=x, optimizer="sgd")[0]
    assert names(found) == [
        "affine",
        "softmax_head",
        "affine_dW",
        "affine_dW",
        "rule_sgd",
        "gather",
    ]
    chain = [0] * len(found)
    for i, before in enumerate(needs(found)):
        chain[i] = 1 + max((chain[j] for j in before), default=0)
    assert max(chain) == 4
    gather, rule = found[-1], found[-2]
    assert chain[-1] == chain[-2] == 4, "the next rows are gathered beside the update"
    assert gather["scaled"] == 1, "and scaled"
    assert gather["labels_out"] is not None, "with their labels"
    assert rule.name == "rule_sgd"


@pytest.mark.parametrize(
    "layers",
    [
        [5, 6, 4],
        [5, 4],
        [5, 6, "dropout", 4],
        [5, Dense(6, activation="softplus"), 3],
        [5, Dense(8, activation="relu"), Dense(8, activation="gelu_tanh"), MOST_OUTPUTS[8]],
        [5, "batch_norm", 6, "layer_norm", 4],
        [5, 6, Dense(4, bias=False)],
    ],
    ids=str,
)
@pytest.mark.parametrize("how", [{}, {"penalty": True}, {"weights": True}, {"accumulate": True}])
def test_results_are_those_of_the_parts(
    layers: list[Any], how: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {}
    if how.get("weights"):
        options["sample_weight"] = np.linspace(0.2, 1, 22)
    if how.get("accumulate"):
        options["optimizer"] = SGD(0.1, accumulate=2)
    if how.get("penalty"):
        options["penalty"] = "l2"
    found, history, flat, _ = fit(layers, monkeypatch, **options)
    # The parts of a batch share their arrays: nothing there is between two operations alone.
    assert bool(PARTS & set(names(found))) is ("softmax_head" not in names(found))
    assert ("softmax_head" in names(found)) is not how.get("accumulate", False)
    monkeypatch.setattr(composed, "with_heads", list)
    parts, other, wanted, _ = fit(layers, monkeypatch, **options)
    assert set(names(parts)) >= PARTS
    np.testing.assert_allclose(history.step_loss, other.step_loss, rtol=1e-12)
    np.testing.assert_allclose(history["accuracy"], other["accuracy"], rtol=1e-12)
    np.testing.assert_allclose(flat, wanted, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    "layers",
    [
        [5, "dropout", 6, 3],
        [5, "dropout", 3],
        [5, Residual([Rescale(2.0)]), 6, 3],
        [5, Rescale(2.0), Residual(["batch_norm"]), 3],
    ],
    ids=lambda layers: str(len(layers)),
)
def test_the_next_rows_come_when_nothing_reads_these(
    layers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and labels are prefetched; here the first product does not read the rows."""
    runs = [fit(layers, monkeypatch, engine=engine) for engine in ("cuda", "interpreter")]
    np.testing.assert_allclose(runs[0][1].step_loss, runs[1][1].step_loss, rtol=1e-11)
    np.testing.assert_allclose(runs[0][2], runs[1][2], rtol=1e-9, atol=1e-12)
    made = runs[0][3]
    assert made.first_rows[id(made.program.full)]
    assert not made.first_rows[id(made.program.last)], "a single step has none before it"


def test_parts_that_are_not_as_the_kernel_has_them_stay_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Outputs with an activation, means stored elsewhere or with other weights."""
    parts = list[Operation]()

    def keep(operations: list[Operation]) -> list[Operation]:
        parts.extend(operations)
        return operations

    monkeypatch.setattr(composed, "with_heads", keep)
    fit([5, 6, 4], monkeypatch, epochs=1, batch_size=22)
    loss = parts[names(parts).index("softmax_loss")]
    bias = next(op for op in parts if op.name == "activation" and op["z"] is loss["z"])
    mean, hits = (op for op in parts if op.name == "weighted_mean")
    assert heads.Head.of(loss, parts) is not None
    for old, new in (
        (bias, bias.replaced(formula=codes("activation")["tanh"])),
        (hits, hits.replaced(out=mean["out"])),
        (hits, hits.replaced(r=mean["values"])),
        (mean, mean.replaced(r=hits["values"])),
    ):
        other = [new if op is old else op for op in parts]
        assert heads.Head.of(loss, other) is None


def test_what_is_too_much_for_a_warp_is_left_to_the_products(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    most = MOST_OUTPUTS[8]
    for outputs, work, is_one in ((most, 6 * 6 * most, True), (most, 6 * 6 * most - 1, False)):
        monkeypatch.setattr(heads, "MOST_WORK", work)
        found = fit([5, 6, outputs], monkeypatch)[0]
        assert ("softmax_head" in names(found)) is is_one
    monkeypatch.setattr(heads, "MOST_WORK", 10**6)
    assert "softmax_head" not in names(fit([5, 6, most + 1], monkeypatch)[0])


def test_a_head_that_does_not_compile_is_done_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit([5, 6, 3], monkeypatch)[1]
    compiled = kernels.compiled

    def broken(backend: Any, source: str) -> Any:
        if source == "heads.cu":
            raise RuntimeError("nvrtc: too large\nmore")
        return compiled(backend, source)

    monkeypatch.setattr(kernels, "compiled", broken)
    found, history, _, _ = fit([5, 6, 3], monkeypatch)
    assert set(names(found)) >= PARTS
    assert "in parts, for softmax_head does not compile: nvrtc: too large" in history.engine_reason
    np.testing.assert_allclose(history.step_loss, whole.step_loss, rtol=1e-12)
