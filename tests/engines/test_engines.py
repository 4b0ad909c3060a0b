"""Which engine runs a program, and errors if the requested one cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlpx import MLP, Dense
from mlpx.engines import Engine, choose
from mlpx.engines.lowering import Translator
from mlpx.errors import EngineError, UnknownNameError
from mlpx.kernels.activations import LeakyReLU
from mlpx.program.data import TrainingData
from mlpx.program.program import TrainingProgram

X, Y = np.ones((9, 7), np.float32), np.arange(9) % 3


def fit(device: str, **options: Any) -> Any:
    """A short training."""
    model = MLP([7, 3], device=device)
    return model.fit(X, Y, epochs=1, verbose=0, **options)


@pytest.mark.parametrize(
    ("device", "options", "reason"),
    [
        ("cpu", {"engine": "cuda"}, "it runs on CUDA devices only"),
        ("cuda", {"engine": "native"}, "it runs on the CPU only"),
        ("cpu", {"engine": "native", "gradient": "numerical"}, "'numerical' is done by the interp"),
        ("cuda", {"engine": "interpreter", "precision": "bf16"}, "'bf16' is none of its own"),
        (
            "cuda",
            {"gradient": "numerical", "precision": "tf32"},
            "no engine can run this: cuda: gradient='numerical' is done by the interpreter only; "
            "interpreter: precision='tf32' is none of its own",
        ),
    ],
)
@pytest.mark.usefixtures("fake_cupy")
def test_what_no_engine_does_is_refused(device: str, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(EngineError, match=reason):
        fit(device, **options)


def test_kernels_that_a_compiler_has_not_made_are_told(
    fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any) -> None:
        raise RuntimeError("no kernel image is available\nmore")

    monkeypatch.setattr("mlpx.engines.cuda.compile_all", lambda *_: {})
    monkeypatch.setattr("mlpx.engines.cuda.function", missing)
    with pytest.raises(EngineError, match="its kernels do not compile: no kernel image is avail"):
        fit("cuda", engine="cuda")


@pytest.mark.usefixtures("fake_cupy")
def test_what_the_user_adds_has_no_kernel() -> None:
    class Doubled(LeakyReLU, name="doubled_in_the_tests"):
        """A record that the library does not have."""

    try:
        model = MLP([7, Dense(6, activation=Doubled()), 3], device="cuda")
        history = model.fit(X, Y, epochs=1, verbose=0)
    finally:
        del Doubled.table["doubled_in_the_tests"]
    assert history.engine == "interpreter"
    assert "'doubled_in_the_tests' is not one of the library's own" in str(history.engine_reason)


@pytest.mark.usefixtures("fake_cupy")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_plan_is_lowered_once(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the engine that runs it: to choose one is to prepare it."""
    lowered = []
    translate = Translator.translate

    def counted(self: Translator) -> Any:
        lowered.append(self.plan)
        return translate(self)

    monkeypatch.setattr(Translator, "translate", counted)
    history = fit(device, batch_size=4)
    if history.engine == "interpreter":
        pytest.skip("the native library was not built")
    assert len(lowered) == len({id(plan) for plan in lowered}) == 2  # of whole batches, of the rest


@pytest.mark.parametrize("engine", ["interpreter", "native"])
def test_threads_are_those_asked_for(engine: str) -> None:
    model = MLP([7, 3])
    data = TrainingData(X, Y, None)
    program = TrainingProgram(model, data, optimizer=None, moments={}, batch_size=9, rows=9)
    if engine == "native" and Engine.table[engine]().missing():
        pytest.skip("the native library was not built")
    for wanted in (engine, "auto"):
        chosen = choose(wanted, program, threads=3)
        assert chosen.runner.threads == 3  # type: ignore[attr-defined]
    assert choose("interpreter", program).runner.threads is None  # type: ignore[attr-defined]


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"'nativ'.*did you mean 'native'"):
        fit("cpu", engine="nativ")


def test_without_its_library_the_native_engine_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlpx.engines.native.load", lambda: None)
    with pytest.raises(EngineError, match=r"engine='native' cannot run this: .*compiler"):
        fit("cpu", engine="native")
    history = fit("cpu")
    assert history.engine == "interpreter"
    assert history.engine_reason.startswith("native: ")
