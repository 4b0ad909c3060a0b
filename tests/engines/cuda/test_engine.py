"""The CUDA engine computes what the interpreter does; its plans, graphs, fallbacks and errors.

Runs on the fake CuPy, whose streams run late, so that a missing wait changes the numbers.
"""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cudasim
import numpy as np
import pytest
from fakecupy.modules import RawKernel
from fakecupy.state import CUDARuntimeError

from mlpx import MLP, BatchNorm, Callback, Dense, Dropout, LayerNorm, Optimizer, Rescale, Residual
from mlpx.engines.cuda import CudaEngine
from mlpx.engines.cuda.graphs import capture, lanes, needs
from mlpx.engines.cuda.runner import CudaRunner
from mlpx.engines.lowering import Operation
from mlpx.engines.lowering.formulas import codes
from mlpx.engines.lowering.operations import Access
from mlpx.engines.native.library import load
from mlpx.errors import DeviceError, DeviceMemoryError, EngineError, InputError, UnknownNameError

pytestmark = [
    pytest.mark.usefixtures("fake_cupy"),
    pytest.mark.skipif(cudasim.compiler() is None, reason="no C++ compiler"),
]


def images(n: int = 230, d: int = 49) -> tuple[np.ndarray, np.ndarray]:
    """MNIST-like bytes and labels."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 10, size=n)
    prototypes = rng.integers(0, 256, size=(10, d))
    noise = rng.integers(-40, 40, size=(n, d))
    return np.clip(prototypes[y] + noise, 0, 255).astype(np.uint8), y


def network(device: str = "cuda", **options: Any) -> MLP:
    layers = [49, Rescale(1 / 255), Dense(13, activation="relu"), Dense(9, activation="relu"), 10]
    return MLP(layers, device=device, **options)


def train(engine: str = "auto", *, model: MLP | None = None, **options: Any) -> tuple[MLP, Any]:
    model = model or network()
    x, y = images()
    given = {"epochs": 3, "batch_size": 8, "optimizer": "adam", "verbose": 0} | options
    return model, model.fit(x, y, engine=engine, **given)


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


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The runners made, in order."""
    made: list[Any] = []
    planned = CudaRunner.__init__

    def keep(self: CudaRunner, *given: Any) -> None:
        planned(self, *given)
        made.append(self)

    monkeypatch.setattr(CudaRunner, "__init__", keep)
    return made


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


def test_products_beside_each_other_work_apart(runner: list[Any]) -> None:
    """With workspaces of their own: the fake refuses two products at a time in one."""
    train(model=MLP([49, 30, 20, 15, 10], device="cuda"), epochs=1)
    (made,) = runner
    assert made.notes == []
    assert made.graphs


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
        [operation.name for operation, _ in made.launches[id(made.program.full)]] for made in runner
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
    names = {operation.name for operation, _ in made.launches[id(made.program.full)]}
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
    names = [operation.name for operation, _ in made.launches[id(made.program.full)]]
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
    names = [operation.name for operation, _ in made.launches[id(made.program.full)]]
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
    names = [operation.name for operation, _ in made.launches[id(made.program.full)]]
    assert names.count("activation") == names.count("activation_back") == 0
    assert made.notes == []


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
    launch = CudaRunner._run

    def interrupted(self: Any, plan: Any, steps: int) -> None:
        launch(self, plan, steps)
        assert not self.stream.done
        raise KeyboardInterrupt

    monkeypatch.setattr(CudaRunner, "_run", interrupted)
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


@pytest.mark.parametrize(
    ("hidden", "steps"), [((50,), 1), ((50,), 3), ((30, 20), 1), ((30, 20, 15), 4)], ids=str
)
def test_the_longest_chain_of_a_step_is_its_products_and_the_rule(
    runner: list[Any], hidden: tuple[int, ...], steps: int
) -> None:
    """Per step: L - 1 products forward, the head, L - 2 products back, a gradient, and the rule.

    At the end the counters, once. Other gradients and the next rows run in parallel.
    """
    layers: list[Any] = [49, *(Dense(units, activation="relu") for units in hidden), 10]
    model = MLP(layers, device="cuda")
    train(model=model, optimizer="sgd", epochs=1)
    (made,) = runner
    launches = made.launches[id(made.program.full)]
    graph = capture(made.cuda, launches, steps, made.planner.positions.move_to, made.advance(steps))
    length: dict[Any, int] = {}
    for node in graph.nodes:
        length[node] = 1 + max((length[before] for before in node.after), default=0)
    products = len(hidden) + 1
    assert max(length.values()) == steps * (products - 1 + 1 + products - 2 + 1 + 1) + 1
    assert length[graph.nodes[-1]] == max(length.values())
    assert all(graph.nodes[-1].follows(node) for node in graph.nodes[:-1])


@pytest.mark.parametrize(
    ("touched", "needed", "placed"),
    [
        # What each operation reads and what it writes.
        ("", [], []),
        ("-a", [[]], [0]),
        ("-a ab bc", [[], [0], [1]], [0, 0, 0]),
        ("-a -b abc", [[], [], [1, 0]], [0, 1, 0]),
        ("-a aw ab bc c-", [[], [0], [0], [2], [3]], [0, 1, 0, 0, 0]),
        ("-a ab ac c-", [[], [0], [0], [2]], [0, 1, 0, 0]),  # what is waited for goes on
        # What comes last is beside what else nobody waits for.
        ("-a ab bc bd", [[], [0], [1], [1]], [0, 0, 0, 1]),
    ],
)
def test_operations_wait_for_what_they_need_alone(
    touched: str, needed: list[list[int]], placed: list[int]
) -> None:
    operations = [operation_on(*letters) for letters in touched.split()]
    assert needs(operations) == needed
    assert lanes(operations) == placed


def operation_on(*letters: str) -> Operation:
    """An operation that reads the arrays of all letters but the last, and writes the last."""
    touches = [
        Access(ord(c), ord(c) + 1, i == len(letters) - 1) for i, c in enumerate(letters) if c != "-"
    ]
    return Operation("any", (), (), (), tuple(touches))


def test_tf32_is_asked_of_cublaslt(fake_cupy: Any) -> None:
    """The fake computes in float32, without rounding to TF32."""
    found = []
    for precision in ("float32", "tf32"):
        fake_cupy.cublaslt.computes.clear()
        model = network()
        _, history = train(model=model, precision=precision)
        assert history.engine == "cuda"
        found.append((set(fake_cupy.cublaslt.computes), history.step_loss))
    assert [computes for computes, _ in found] == [{68}, {77}]
    np.testing.assert_array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_factors_of_products_alone_are_rounded(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first loss is that of rounded factors, and the weights stay float32."""
    rounded = {"bf16": bf16, "fp16": fp16}[precision]
    model = network()
    weights = {name: W.get() for name, W in model.parameters.items()}
    x, y = images()
    history = model.fit(
        x, y, steps=1, batch_size=230, sampling="sequential", precision=precision, verbose=0,
        optimizer="sgd",
    )  # fmt: skip
    assert history.engine == "cuda"
    h = np.maximum(rounded(x / np.float32(255)) @ rounded(weights["1.W"]) + weights["1.b"], 0)
    h = np.maximum(rounded(h) @ rounded(weights["2.W"]) + weights["2.b"], 0)
    z = h @ weights["3.W"] + weights["3.b"]  # few outputs are no product of cublasLt's
    z = z.astype(np.float64)
    loss = np.log(np.exp(z).sum(axis=1)) - z[np.arange(230), y]
    np.testing.assert_allclose(history.step_loss, loss.mean(), rtol=1e-6)
    right = train()[1].step_loss
    replayed = train(precision=precision)[1]
    assert 1e-6 < np.abs(replayed.step_loss - right).max() < 0.1
    assert "cublasLt" not in replayed.engine_reason  # every row is aligned, those of 10 too
    monkeypatch.setattr("mlpx.engines.cuda.runner.capture", refuse_capture)
    launched = train(precision=precision)[1]
    np.testing.assert_array_equal(launched.step_loss, replayed.step_loss)


@pytest.mark.parametrize("size", [1e-8, 1e7])
def test_float16_has_room_for_any_size(size: float) -> None:
    """Features and gradients far below and above float16's range train as in float32."""
    rng = np.random.default_rng(0)
    x = (size * rng.normal(size=(64, 9))).astype(np.float32)
    y = rng.normal(size=(64, 3)).astype(np.float32)
    weights = [w.astype(np.float32) for w in (rng.normal(size=(9, 3)) / size, 0 * y[0])]
    found = []
    for precision in ("float32", "fp16"):
        model = MLP([9, Dense(3)], loss="mean_squared_error", device="cuda")
        for parameter, value in zip(model.parameters.values(), weights, strict=True):
            parameter[...] = model.backend.asarray(value)
        sgd = Optimizer.table["sgd"](0.1 / size**2, rate_multipliers={"bias": size**2})
        history = model.fit(
            x, y, steps=4, batch_size=64, optimizer=sgd, precision=precision, verbose=0
        )  # fmt: skip
        found.append(history.step_loss)
    assert found[0][-1] < 0.8 * found[0][0]
    np.testing.assert_allclose(found[1], found[0], rtol=2e-3)


def refuse_capture(*_: Any) -> None:
    raise RuntimeError("not now")


def test_a_changed_header_is_another_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CuPy's cache is keyed by the text of the file alone."""
    from mlpx.engines.cuda import kernels

    monkeypatch.setattr(kernels, "HERE", tmp_path)
    (tmp_path / "some.cu").write_text("// a kernel\n")
    made = []
    for text in ("one", "two"):
        (tmp_path / "operation.cuh").write_text(text)
        backend = SimpleNamespace(xp=SimpleNamespace(RawModule=lambda **given: given))
        made.append(kernels.module(backend, "some.cu"))
    assert made[0]["code"] != made[1]["code"]
    assert made[0]["code"].endswith("// a kernel\n")
    assert made[0]["options"] == (f"-I{tmp_path}",)


def bf16(a: np.ndarray) -> np.ndarray:
    """The nearest numbers with 8 significant bits."""
    fraction, exponent = np.frexp(a)
    return np.ldexp(np.rint(fraction * 256) / 256, exponent).astype(np.float32)


def fp16(a: np.ndarray) -> np.ndarray:
    """The nearest numbers with 11 significant bits; denormals here do not matter in any sum."""
    fraction, exponent = np.frexp(a)
    return np.ldexp(np.rint(fraction * 2048) / 2048, exponent).astype(np.float32)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_narrow_factors_need_their_kernel(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlpx.engines.cuda import kernels

    has = kernels.CudaTarget.has
    monkeypatch.setattr(
        kernels.CudaTarget,
        "has",
        lambda self, name, dtype: name != f"to_{precision}" and has(self, name, dtype),
    )
    with pytest.raises(EngineError, match=f"no operation to_{precision}"):
        train("cuda", precision=precision)


def test_a_precision_that_is_not_there_is_refused() -> None:
    with pytest.raises(EngineError, match="precision='tf32' is none of its own"):
        train("interpreter", precision="tf32")
    with pytest.raises(InputError, match="float64 on cuda:0; it rounds float32 on CUDA"):
        train(model=network(dtype="float64"), precision="tf32")
    with pytest.raises(InputError, match="float32 on cpu"):
        train(model=network("cpu"), precision="tf32")
    with pytest.raises(UnknownNameError, match="did you mean 'tf32'"):
        train(precision="tf23")


@pytest.mark.parametrize(("n", "dtype"), [(1400, "u1"), (700, ">u2")])
@pytest.mark.parametrize("engine", ["interpreter", "cuda"])
def test_data_that_does_not_fit_stays_in_host_memory(
    fake_cupy: Any, engine: str, n: int, dtype: str
) -> None:
    """With the same losses, and a note."""
    x, y = images(n=n)
    x = x.astype(dtype)
    options: dict[str, Any] = {"epochs": 1, "batch_size": 16, "engine": engine, "verbose": 0}
    resident = network().fit(x, y, **options)
    model = network()
    fake_cupy.machine.free_bytes = 67_000
    history = model.fit(x, y, **options)
    assert history.notes == [
        "x does not fit on cuda:0: it stays in host memory, and each step fetches its rows"
    ]
    assert resident.notes == []
    np.testing.assert_array_equal(history.step_loss, resident.step_loss)


def test_data_in_host_memory_takes_what_it_needs(fake_cupy: Any) -> None:
    """Not rounded up to a power of two, and only as long as it is used."""
    backend = network().backend
    x = np.arange(3 * 1000, dtype=np.float32).reshape(1000, 3)
    fake_cupy.machine.free_bytes = 100
    array, resident = backend.asarray_in_reach(x)
    assert not resident
    assert fake_cupy.machine.pinned_bytes == x.nbytes
    part = array[10:]
    del array
    gc.collect()
    assert fake_cupy.machine.pinned_bytes == x.nbytes
    np.testing.assert_array_equal(backend.to_numpy(part), x[10:])
    del part
    gc.collect()
    assert fake_cupy.machine.pinned_bytes == 0


def host_data(fake_cupy: Any, **options: Any) -> Any:
    """A fit on more data than the device has room for."""
    x, y = images(n=1400)
    model = network()
    given: dict[str, Any] = {"epochs": 2, "batch_size": 16, "verbose": 0} | options
    fake_cupy.machine.free_bytes = 67_000
    history = model.fit(x, y, **given)
    fake_cupy.machine.free_bytes = 2**30
    return history


def test_rows_that_were_brought_are_not_brought_again(
    fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If steps are slow, each is a call of the engine, and its rows have already been fetched."""
    launched: list[str] = []
    launch = RawKernel.__call__

    def counted(self: RawKernel, *args: Any, **keywords: Any) -> None:
        launched.append(self.name)
        launch(self, *args, **keywords)

    monkeypatch.setattr(RawKernel, "__call__", counted)
    monkeypatch.setattr("mlpx.training.epochs.RUN_S", 0.0)
    x, y = images(n=230)
    fake_cupy.machine.free_bytes = 67_000
    history = network().fit(
        x.astype(np.float64), y, epochs=3, batch_size=16, engine="cuda", verbose=0
    )
    assert any("host memory" in note for note in history.notes)
    # Of x: once an epoch, and in the step that is launched and the one that is captured; and those
    # of the last, smaller batches. Labels: in the launched and the captured step of each plan.
    assert launched.count("gather_float32") == 3 + 2 + 2 + 2 * 2


def test_host_memory_that_cannot_be_pinned_is_a_memory_error(
    fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CuPy's pool is emptied first."""
    tried: list[int] = []

    def refused(nbytes: int) -> Any:
        tried.append(nbytes)
        raise CUDARuntimeError(2, "cudaErrorMemoryAllocation: out of memory")

    monkeypatch.setattr(fake_cupy.cuda, "PinnedMemory", refused)
    with pytest.raises(DeviceMemoryError, match="nor into pinned host memory: cudaErrorMemory"):
        host_data(fake_cupy)
    assert len(tried) == 2


def test_the_next_rows_come_while_a_step_computes(fake_cupy: Any, runner: list[Any]) -> None:
    """On a branch of the graph parallel to the products; a step copies the rows fetched for it."""
    host_data(fake_cupy)
    (made,) = runner
    operations = [operation for operation, _ in made.launches[id(made.program.full)]]
    names = [operation.name for operation in operations]
    start = names.index("copy")
    assert names[start + 1] == "gather"
    assert operations[start + 1].late
    graph = next(graph for (_, steps), graph in made.graphs.items() if steps == 1)
    ends = {node for other in graph.nodes for node in other.after}
    (joined,) = [node for node in graph.nodes if node not in ends]
    copied, brought = graph.nodes[start], graph.nodes[start + 1]
    product = graph.nodes[names.index("affine") + 0]
    assert brought.follows(copied)
    assert not product.follows(brought)
    assert joined.follows(brought) or joined is brought


@pytest.mark.parametrize("steps", [3, 13, 23, pytest.param(50, marks=pytest.mark.slow)])
def test_prefetched_rows_are_the_steps_own(fake_cupy: Any, steps: int) -> None:
    """Wherever a run stops, even in the ragged batch, and when another run continues."""
    x, y = images(n=1401)
    options: dict[str, Any] = {"batch_size": 64, "verbose": 0, "steps": steps}
    losses = []
    for free_bytes in (2**30, 67_000):
        model = network()
        fake_cupy.machine.free_bytes = free_bytes
        first = model.fit(x, y, **options).step_loss
        fake_cupy.machine.free_bytes = free_bytes
        losses.append(np.concatenate([first, model.fit(x, y, **options).step_loss]))
    np.testing.assert_array_equal(*losses)


def test_parts_of_a_batch_are_fetched_as_they_come(fake_cupy: Any, runner: list[Any]) -> None:
    host_data(fake_cupy, optimizer=Optimizer.table["adam"](accumulate=2))
    assert not any(runner[0].first_rows.values())


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


def test_a_step_ends_where_its_last_branch_does(fake_cupy: Any) -> None:
    done: list[str] = []

    def put(name: str, lane: int) -> tuple[Operation, Any]:
        stream = fake_cupy.cuda.get_current_stream
        return Operation(name, (), (), (), (), lane=lane), lambda: stream().put(
            lambda: done.append(name)
        )

    launches = [put("first", 2), put("second", 0), put("last", 1)]
    moved: list[int] = []
    behind = put("behind", 0)[1]
    graph = capture(fake_cupy.cuda, launches, 2, moved.append, behind)
    graph.launch()
    assert moved == [0, 1, 0]
    assert done.pop() == "behind"
    assert sorted(done[:3]) == sorted(done[3:]) == ["first", "last", "second"]


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
