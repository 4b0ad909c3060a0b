"""Matrix products of the CUDA engine: cublasLt, its epilogues, and what replaces them."""

from __future__ import annotations

from typing import Any

import cudasim
import numpy as np
import pytest
from cuda_training import images, network, train

from mlpx import MLP, Dense
from mlpx.errors import EngineError

pytestmark = [
    pytest.mark.usefixtures("fake_cupy"),
    pytest.mark.skipif(cudasim.compiler() is None, reason="no C++ compiler"),
]


def test_products_beside_each_other_work_apart(runner: list[Any]) -> None:
    """With workspaces of their own: the fake refuses two products at a time in one."""
    train(model=MLP([49, 30, 20, 15, 10], device="cuda"), epochs=1)
    (made,) = runner
    assert made.notes == []
    assert made.replayer.graphs


def test_without_cublaslt_products_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlpx.engines.cuda import cublaslt

    def absent(cupy: Any) -> Any:
        raise EngineError("libcublasLt.so.13 is not there")

    slow = train("interpreter")[1]
    monkeypatch.setattr(cublaslt, "find", absent)
    _, history = train()
    assert history.engine_reason.endswith("; plain products, for libcublasLt.so.13 is not there")
    np.testing.assert_allclose(history.step_loss, slow.step_loss, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("way", "said"),
    [("unplanned", "it has no algorithm for it"), ("failing", "cublasLtMatmul returned status 15")],
)
def test_shapes_that_cublaslt_does_not_do_are_plain(fake_cupy: Any, way: str, said: str) -> None:
    slow = train("interpreter")[1]
    setattr(fake_cupy.cublaslt, way, lambda shape: shape == (13, 49, 8))  # dW of the first layer
    _, history = train()
    assert f"affine_dW 8 x 49 x 13 without cublasLt: {said}" in history.engine_reason
    assert "affine " not in history.engine_reason
    assert (13, 49, 8) not in fake_cupy.cublaslt.products
    assert (13, 49, 6) in fake_cupy.cublaslt.products  # of the ragged batch
    np.testing.assert_allclose(history.step_loss, slow.step_loss, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("way", ["unplanned", "failing"])
def test_epilogues_that_cublaslt_does_not_do_are_operations(
    fake_cupy: Any, runner: list[Any], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fused = train()[1]
    if way == "unplanned":
        fake_cupy.cublaslt.epilogues = [1]
    else:
        asked: dict[Any, int] = {}

        def first_time(shape: Any) -> bool:
            asked[shape] = asked.get(shape, 0) + 1
            return asked[shape] == 1

        fake_cupy.cublaslt.failing = first_time
    _, history = train()
    assert "affine 8 x 49 x 13 without cublasLt's epilogue: " in history.engine_reason
    assert "affine_dW 6 x 9 x 10 without cublasLt's epilogue: " in history.engine_reason
    names = [
        [operation.name for operation, _ in made.replayer.launches[id(made.program.full)]]
        for made in runner
    ]
    # Two layers, forward and backward; one that fails is tried again without relu's bits.
    assert len(names[1]) == len(names[0]) + {"unplanned": 6, "failing": 5}[way]
    assert names[0].count("activation") == names[0].count("column_sum") == 0
    np.testing.assert_allclose(history.step_loss, fused.step_loss, rtol=1e-5)


def test_relu_is_the_end_of_its_products(runner: list[Any]) -> None:
    """Forward and backward, with the sum for the bias; relu's bits fill one row and two."""
    widths = [49, Dense(120, activation="relu"), Dense(130, activation="relu"), 10]
    flats = []
    for engine in ("interpreter", "cuda"):
        model = MLP(widths, device="cuda", dtype="float64")
        train(engine, model=model, epochs=1, optimizer="sgd")
        flats.append(model.backend.to_numpy(model.flat))
    np.testing.assert_allclose(flats[1], flats[0], rtol=1e-11, atol=1e-12)
    (made,) = runner
    names = {operation.name for operation, _ in made.replayer.launches[id(made.program.full)]}
    assert not names & {"activation", "activation_back", "column_sum"}
    assert made.notes == []


@pytest.mark.parametrize("lacking", [134, 152])
def test_relu_without_one_of_its_epilogues(fake_cupy: Any, runner: list[Any], lacking: int) -> None:
    """Without bits from the forward pass, the backward pass uses kernels, and a note says so."""
    library = fake_cupy.cublaslt
    slow = train("interpreter")[1]
    library.epilogues = [kind for kind in library.epilogues if kind != lacking]
    _, history = train("cuda")
    np.testing.assert_allclose(history.step_loss, slow.step_loss, rtol=1e-4, atol=1e-4)
    (made,) = runner
    names = [operation.name for operation, _ in made.replayer.launches[id(made.program.full)]]
    assert names.count("activation") == 0
    assert names.count("activation_back") == names.count("column_sum") == 1
    said = "the way forward keeps no bits of its relu" in history.engine_reason
    assert said == (lacking == 134)
    x, y = images()
    parts = network().profile(x, y, batch_size=8, engine="cuda").parts  # from the plan as it is
    assert len([part for part in parts if part.name.startswith("activation_back")]) == 1


def test_relu_whose_bits_fail_when_they_are_first_written(
    fake_cupy: Any, runner: list[Any]
) -> None:
    slow = train("interpreter")[1]
    refused: set[Any] = set()

    def first_time(shape: Any) -> bool:
        is_first = shape[:2] == (13, 8) and shape not in refused  # the first layer's product
        refused.add(shape)
        return is_first

    fake_cupy.cublaslt.failing = first_time
    _, history = train("cuda")
    assert "the way forward keeps no bits of its relu" in history.engine_reason
    np.testing.assert_allclose(history.step_loss, slow.step_loss, rtol=1e-4, atol=1e-4)
    (made,) = runner
    names = [operation.name for operation, _ in made.replayer.launches[id(made.program.full)]]
    assert names.count("activation_back") == names.count("column_sum") == 1


def test_gelu_by_tanh_is_the_end_of_its_products(runner: list[Any]) -> None:
    """With 16 and 24 units, forward and backward; the one with 12 is part of the head."""
    f = "gelu_tanh"
    widths = [49, Dense(16, activation=f), Dense(24, activation=f), Dense(12, activation=f), 10]
    flats = []
    for engine in ("interpreter", "cuda"):
        model = MLP(widths, device="cuda", dtype="float64")
        train(engine, model=model, epochs=1, optimizer="sgd")
        flats.append(model.backend.to_numpy(model.flat))
    np.testing.assert_allclose(flats[1], flats[0], rtol=1e-11, atol=1e-12)
    (made,) = runner
    names = [operation.name for operation, _ in made.replayer.launches[id(made.program.full)]]
    assert names.count("activation") == names.count("activation_back") == 0
    assert made.notes == []
