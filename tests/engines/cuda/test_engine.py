"""The CUDA engine computes what the interpreter does; its fallbacks, captures, streams and errors.

Runs on the fake CuPy, whose streams run late, so that a missing wait changes the numbers.
"""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cudasim
import numpy as np
import pytest
from cuda_training import images, network, train

from mlpx import MLP, BatchNorm, Callback, Dense, Dropout, LayerNorm, Optimizer, Rescale, Residual
from mlpx.engines.cuda import CudaEngine
from mlpx.engines.cuda.replayer import Replayer
from mlpx.engines.lowering.formulas import codes
from mlpx.engines.native.library import load
from mlpx.errors import DeviceError, EngineError, InputError

pytestmark = [
    pytest.mark.usefixtures("fake_cupy"),
    pytest.mark.skipif(cudasim.compiler() is None, reason="no C++ compiler"),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lamb", "muon"])
def test_losses_are_the_interpreters(dtype: str, optimizer: str) -> None:
    found = []
    for engine in ("interpreter", "cuda"):
        model, history = train(
            engine, model=network(dtype=dtype), optimizer=optimizer, batch_size=16, epochs=2
        )
        assert history.engine == model.engine == engine
        found.append((history.step_loss, model.backend.to_numpy(model.flat)))
    bound = {"float32": 1e-4, "float64": 1e-11}[dtype]
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=bound, atol=bound)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=bound, atol=bound)


def test_cuda_is_the_first_choice_on_cuda() -> None:
    model, history = train()
    assert (history.engine, history.engine_reason) == (
        "cuda",
        "the fastest there is for this device",
    )
    assert model.engine_reason == history.engine_reason


def test_its_memory_is_free_when_the_training_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a garbage collection, since device memory is scarce."""
    made: list[weakref.ref[Any]] = []
    prepare = CudaEngine.prepare

    def watched(self: Any, program: Any, **options: Any) -> Any:
        runner = prepare(self, program, **options)
        made.append(weakref.ref(runner))
        return runner

    monkeypatch.setattr(CudaEngine, "prepare", watched)
    gc.collect()
    gc.disable()
    try:
        train(epochs=1, precision="bf16")
        train(epochs=1, model=network(dtype="float64"))
        assert [ref() for ref in made] == [None, None]
    finally:
        gc.enable()


def test_the_host_waits_for_an_epoch_once(fake_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And for what it put on the stream two calls before, so that it does not get too far ahead."""
    monkeypatch.setattr("mlpx.training.epochs.RUN_S", 1e9)
    model, _ = train(epochs=1)
    fake_cupy.counters.reset()
    train(model=model, epochs=1)
    once = fake_cupy.counters.synchronizations
    fake_cupy.counters.reset()
    train(model=model, epochs=3)
    # Of two calls of the runner, all full batches and the last, each waits for the one two before.
    assert (fake_cupy.counters.synchronizations - once) / 2 == 2 + 1
    assert fake_cupy.counters.allocations < 200


def test_a_step_that_cannot_be_captured_is_launched(
    fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = train("interpreter")[1]

    asked: list[int] = []

    def refuse(self: Any, mode: Any = None) -> None:
        asked.append(1)
        raise RuntimeError("no capture today\nmore")

    monkeypatch.setattr(fake_cupy.cuda.Stream, "begin_capture", refuse)
    model, history = train()
    assert history.engine == "cuda"
    assert history.engine_reason.endswith(
        "; launched one by one, for a step cannot be captured: no capture today"
    )
    assert model.engine_reason == history.engine_reason
    assert len(asked) == 1
    np.testing.assert_allclose(history.step_loss, slow.step_loss, rtol=1e-4, atol=1e-4)


def test_a_new_shape_is_captured_anew() -> None:
    """Batches of another size, then of the first again; compared with the interpreter."""
    found = []
    for engine in ("interpreter", "cuda"):
        model, losses = network(), []
        for size in (8, 17, 8):
            losses.append(train(engine, model=model, epochs=2, batch_size=size)[1].step_loss)
        found.append(np.concatenate(losses))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-4)


def test_what_it_has_no_kernel_for_is_interpreted() -> None:
    model = network()
    _, history = train(model=model, epochs=1, gradient="search")
    assert history.engine == "interpreter"
    assert history.engine_reason == "cuda: gradient='search' is done by the interpreter only"
    with pytest.raises(EngineError, match="gradient='search' is done by the interpreter only"):
        train("cuda", model=model, gradient="search")
    with pytest.raises(EngineError, match="it runs on CUDA devices only"):
        train("cuda", model=network("cpu"))


def test_kernels_that_do_not_compile_leave_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(backend: Any, source: str) -> Any:
        raise RuntimeError("nvrtc: error: invalid value for --gpu-architecture\nmore")

    monkeypatch.setattr("mlpx.engines.cuda.kernels.compiled", broken)
    _, history = train(epochs=1)
    assert history.engine == "interpreter"
    assert history.engine_reason == (
        "cuda: its kernels do not compile: nvrtc: error: invalid value for --gpu-architecture"
    )


@pytest.mark.parametrize("every", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_an_error_at_any_call_leaves_model_and_data_whole(fake_cupy: Any, every: int) -> None:
    """The training falls back and completes, or an error says what failed; both can continue."""
    x, y = images(n=15, d=6)
    y %= 3
    layers = [6, Rescale(1 / 255), Dense(4, activation="relu"), Dense(3, activation="relu"), 3]
    kept, options = (x.copy(), y.copy()), {"epochs": 1, "batch_size": 4, "verbose": 0}
    fake_cupy.machine.calls = 0
    right = MLP(layers, device="cuda").fit(x, y, **options).step_loss
    calls = fake_cupy.machine.calls
    ends = {"whole": 0, "error": 0}
    for call in range(1, calls + 1, every):
        model = MLP(layers, device="cuda")
        before = model.flat.get()
        fake_cupy.machine.calls = 0
        fake_cupy.machine.fail_at = call
        try:
            history = model.fit(x, y, **options)
            ends["whole"] += 1
            np.testing.assert_allclose(history.step_loss, right, rtol=1e-4)
        except DeviceError as error:
            ends["error"] += 1
            text = str(error)
            assert "cuda:0 (Fake CUDA device) failed while" in text
            assert "injected in" in text or "returned status 13" in text
            assert "start again in a new process, or with device='cpu'" in text
            if "planning" in text:
                assert np.array_equal(model.flat.get(), before)
        fake_cupy.machine.fail_at = -1
        assert np.isfinite(model.flat.get()).all()
        assert all(np.array_equal(a, b) for a, b in zip(kept, (x, y), strict=True))
        assert np.isfinite(model.fit(x, y, **options).step_loss).all()
    assert min(ends.values()) > 20 // every, ends


@pytest.mark.parametrize("method", ["evaluate", "predict", "predict_proba", "profile"])
def test_an_error_outside_of_training_says_where(fake_cupy: Any, method: str) -> None:
    x, y = images(n=27)
    model = network()
    given = (x,) if method.startswith("predict") else (x, y)
    fake_cupy.machine.calls = 0
    fake_cupy.machine.fail_at = 3
    with pytest.raises(DeviceError, match=f"cuda:0 .* failed while {method[:6]}.*injected in"):
        getattr(model, method)(*given)
    fake_cupy.machine.fail_at = -1
    getattr(model, method)(*given)


def test_an_error_of_a_callback_stays_what_it_is() -> None:
    class Fails(Callback):
        def on_epoch_end(self, run: Any, *_: Any) -> None:
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match=r"^mine$") as found:
        train(callbacks=[Fails()])
    assert found.type is RuntimeError


def test_nothing_is_left_to_do_behind_an_error(
    runner: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work still queued on the stream would use memory that may have been reused by then."""
    launch = Replayer.run

    def interrupted(self: Replayer, plan: Any, steps: int, stream: Any) -> None:
        launch(self, plan, steps, stream)
        assert not stream.done
        raise KeyboardInterrupt

    monkeypatch.setattr(Replayer, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train()
    assert runner[0].stream.done


def test_codes_are_the_librarys() -> None:
    from mlpx.kernels.activations import Activation
    from mlpx.kernels.losses import Loss

    library = load()
    assert library is not None
    for family, table in (("activation", Activation.table), ("loss", Loss.table)):
        for name in table:
            wanted = getattr(library, f"mlpx_{family}")(name.encode())
            assert codes(family).get(name, -1) == wanted
    assert {"sgd", "adam", "lion"} <= set(codes("rule"))


RICH = [
    49, BatchNorm(), Dense(12, activation="prelu"), Dropout(0.3), Residual([Dense(12)]),
    LayerNorm(), Dense(7, activation="gelu", penalty="l2"), 10,
]  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"clip_norm": 0.1, "average": "ema"}])
def test_every_kind_of_layer_and_update(options: dict[str, Any]) -> None:
    found = []
    for engine in ("interpreter", "cuda"):
        model = MLP(RICH, device="cuda", dtype="float64")
        optimizer = Optimizer.table["adamw"](**options)
        _, history = train(engine, model=model, optimizer=optimizer, batch_size=16)
        found.append((history.step_loss, model.backend.to_numpy(model.flat)))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-10)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-8, atol=1e-10)


def test_bad_data_on_the_device_is_refused_before_anything_is_launched(
    fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No kernel runs on labels out of range or on NaN."""
    x, y = images()
    x_there, y_there = fake_cupy.asarray(x), fake_cupy.asarray(y)
    found: list[str] = []
    original = fake_cupy.RawModule.get_function
    monkeypatch.setattr(
        fake_cupy.RawModule,
        "get_function",
        lambda self, name: found.append(name) or original(self, name),
    )
    with pytest.raises(InputError, match="y has label 10 at row"):
        network().fit(x_there, y_there + 1, engine="cuda", verbose=0)
    bad = fake_cupy.asarray(np.where(np.arange(49) == 3, np.nan, x).astype(np.float32))
    with pytest.raises(InputError, match="x"):
        network().fit(bad, y_there, engine="cuda", verbose=0)
    assert found == []
    network().fit(x_there, y_there, engine="cuda", verbose=0, epochs=1)
    assert "gather_float32" in found


def test_models_train_side_by_side_in_threads() -> None:
    """Each on a stream of its own, with the same losses as alone."""
    alone = [train(model=network(seed=seed), epochs=2)[1].step_loss for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(lambda seed=seed: train(model=network(seed=seed), epochs=2)[1])
            for seed in range(4)
        ]
    for job, losses in zip(jobs, alone, strict=True):
        assert job.result().engine == "cuda"
        np.testing.assert_array_equal(job.result().step_loss, losses)
