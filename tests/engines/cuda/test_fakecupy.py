"""The fake is as strict as CuPy, and counts what CuPy would do."""

from __future__ import annotations

import importlib.util
import inspect
import pickle
import sys

import fakecupy
import numpy as np
import pytest
from fakecupy import names

from mlpx import backend


def counts(cupy):
    c = cupy.counters
    return c.allocations, c.synchronizations, c.to_host, c.to_device


@pytest.fixture
def x(fake_cupy):
    array = fake_cupy.asarray(np.arange(12, dtype=np.float32).reshape(3, 4))
    fake_cupy.counters.reset()
    return array


def test_installed_replaces_cupy_and_puts_back():
    before = sys.modules.get("cupy")
    with fakecupy.installed(devices=2) as cupy:
        import cupy as imported

        assert imported is cupy
        assert cupy.cuda.runtime.getDeviceCount() == 2
        assert backend.get_backend("cuda:1").xp is cupy
    assert not any(opened.xp is cupy for opened in backend._opened.values())
    assert sys.modules.get("cupy") is before


def test_only_recorded_names_exist(fake_cupy):
    extra = {"counters", "cublaslt", "machine"}
    public = {name for name in vars(fake_cupy) if not name.startswith("_")}
    recorded = {*names.FUNCTIONS, *names.UFUNCS, *names.SHARED}
    assert public - extra - recorded == {"cuda", "from_dlpack", "linalg", "ndarray", "ufunc"} | {
        "RawModule"
    }
    for absent in ("errstate", "apply_along_axis", "vectorize", "from_iter", "asmatrix"):
        assert not hasattr(fake_cupy, absent)


def test_record_agrees_with_cupy():
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("no GPU stack: CuPy is not installed")
    import cupy

    for name in names.UFUNCS:
        assert isinstance(getattr(cupy, name), cupy.ufunc), name
    for name in (*names.SHARED, "from_dlpack", "linalg"):
        assert hasattr(cupy, name), name
    for name in names.METHODS:
        assert hasattr(cupy.ndarray, name), name
    for name, parameters in names.FUNCTIONS.items():
        if name == "matmul":  # a generalised ufunc: the keywords it adds are not allowed here
            continue
        mine = inspect.signature(eval(f"lambda {parameters}: None")).parameters
        assert list(mine) == list(inspect.signature(getattr(cupy, name)).parameters), name


def test_streams_and_modules_are_cupys():
    """All methods of the fake's streams, events, graphs and modules exist in CuPy."""
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("no GPU stack: CuPy is not installed")
    import cupy

    own = {"Stream": {"put", "run"}, "Event": {"run"}}
    for name in ("Stream", "Event", "Graph"):
        mine = {word for word in vars(getattr(fakecupy.cupy.cuda, name)) if word[0] != "_"}
        assert mine - own.get(name, set()) <= set(dir(getattr(cupy.cuda, name))), name
    for name in vars(fakecupy.cupy.cuda):
        assert name[0] == "_" or hasattr(cupy.cuda, name), name
    assert hasattr(cupy.RawModule, "get_function")
    assert {"RangePush", "RangePop"} <= set(dir(cupy.cuda.nvtx))
    host = np.arange(6, dtype=np.float32)
    memory = cupy.cuda.UnownedMemory(host.ctypes.data, host.nbytes, host, 0)
    array = cupy.ndarray((2, 3), np.float32, cupy.cuda.MemoryPointer(memory, 0))
    assert (array.data.ptr, array[1:].data.ptr) == (host.ctypes.data, host.ctypes.data + 12)


def test_methods_are_recorded():
    public = {name for name in vars(fakecupy.ndarray) if not name.startswith("_")}
    assert public <= set(names.METHODS)


@pytest.mark.parametrize(
    "implicit",
    [np.asarray, np.array, lambda x: np.ones((3, 4)).__iadd__(x), lambda x: np.zeros(4)[:] == x],
    ids=["asarray", "array", "iadd", "eq"],
)
def test_no_implicit_conversion(x, implicit):
    with pytest.raises(TypeError):
        implicit(x)
    assert not isinstance(x, np.ndarray)


@pytest.mark.parametrize(
    "mixed",
    [
        lambda cp, x: x + np.ones(4),
        lambda cp, x: np.ones(4) + x,
        lambda cp, x: cp.add(x, np.ones(4)),
        lambda cp, x: cp.add(x, [1, 2, 3, 4]),
        lambda cp, x: cp.matmul(x, np.ones((4, 2))),
        lambda cp, x: cp.where(x > 0, x, np.ones(4)),
        lambda cp, x: cp.sum(np.ones(3)),
        lambda cp, x: cp.sum([1, 2]),
        lambda cp, x: cp.take(np.ones(3), cp.asarray([0])),
        lambda cp, x: cp.add(x, 1, out=np.ones((3, 4))),
        lambda cp, x: cp.sum(x, axis=0, out=np.ones(4)),
        lambda cp, x: cp.concatenate([x, np.ones((3, 4))]),
    ],
)
def test_numpy_arrays_do_not_mix(fake_cupy, x, mixed):
    with pytest.raises(TypeError):
        mixed(fake_cupy, x)


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (TypeError, lambda cp, x: cp.add(x, x, where=x > 0)),
        (TypeError, lambda cp, x: cp.sum(x, where=x > 0)),
        (TypeError, lambda cp, x: cp.max(x, initial=0)),
        (TypeError, lambda cp, x: cp.take(x, cp.asarray([0]), mode="clip")),
        (TypeError, lambda cp, x: cp.where(x > 0, x, 0, out=x)),
        (TypeError, lambda cp, x: cp.lexsort((x, x))),
        (NotImplementedError, lambda cp, x: cp.maximum.reduce(x, axis=1)),
        (NotImplementedError, lambda cp, x: cp.logical_and.accumulate(x > 0)),
        (NotImplementedError, lambda cp, x: cp.multiply.at(x, 0, 2)),
        (TypeError, lambda cp, x: cp.add(x, x, out=cp.zeros((3, 4), "i8"))),
        (ValueError, lambda cp, x: cp.add(x, x, out=cp.zeros((4,), "f4"))),
        (TypeError, lambda cp, x: cp.take(x, cp.asarray([0]), axis=0, out=cp.zeros((1, 4)))),
        (ValueError, lambda cp, x: cp.take(x, cp.asarray([0]), axis=0, out=cp.zeros((2, 4), "f4"))),
        (ValueError, lambda cp, x: x.__setitem__(0, np.ones(4))),
        (ValueError, lambda cp, x: x.__setitem__(0, [1, 2, 3, 4])),
        (ValueError, lambda cp, x: x.fill(np.ones(4))),
        (ValueError, lambda cp, x: cp.copyto(x, np.ones((3, 4), "f4"))),
        (TypeError, lambda cp, x: cp.copyto(cp.zeros((3, 4), "i8"), x)),
        (TypeError, lambda cp, x: x.set(np.ones((3, 4)))),
        (ValueError, lambda cp, x: x.set(np.ones((4, 3), "f4"))),
        (ValueError, lambda cp, x: cp.asarray(np.array([None]))),
        (ValueError, lambda cp, x: x.astype(">f4")),
        (ValueError, lambda cp, x: cp.empty(3, ">i2")),
        (TypeError, lambda cp, x: range(cp.asarray(3))),
        (TypeError, lambda cp, x: np.busday_count(x, x)),
    ],
)
def test_refused_as_in_cupy(fake_cupy, x, error, call):
    with pytest.raises(error):
        call(fake_cupy, x)


@pytest.mark.parametrize(
    ("expected", "call"),
    [  # (allocations, synchronizations, to_host, to_device)
        ((0, 0, 0, 0), lambda cp, x: (x[1:], x.T, x.reshape(-1), x.ravel(), x[0], x.view())),
        ((0, 0, 0, 0), lambda cp, x: cp.reshape(cp.expand_dims(x, 0), (4, 3))),
        ((1, 0, 0, 0), lambda cp, x: x.T.reshape(-1)),
        ((1, 0, 0, 0), lambda cp, x: cp.exp(x)),
        ((0, 0, 0, 0), lambda cp, x: cp.exp(x, out=x)),
        ((1, 0, 0, 0), lambda cp, x: cp.exp(x[:], out=x)),  # another object: CuPy copies it
        ((1, 0, 0, 0), lambda cp, x: cp.subtract(x, x[:, :1], out=x)),
        ((0, 0, 0, 0), lambda cp, x: x.__iadd__(1)),
        ((0, 0, 0, 0), lambda cp, x: x.__setitem__(0, 5)),
        ((1, 0, 0, 0), lambda cp, x: x.__setitem__(0, x[0:1] + 1)),
        ((1, 0, 0, 0), lambda cp, x: x.__setitem__(slice(0, 2), x[1:])),  # overlapping
        ((1, 0, 0, 0), lambda cp, x: x.sum(axis=0)),
        ((1, 0, 0, 0), lambda cp, x: x.sum()),
        ((1, 1, 1, 0), lambda cp, x: float(x.sum())),
        ((2, 1, 1, 0), lambda cp, x: bool(cp.isfinite(x).all())),
        ((1, 1, 1, 0), lambda cp, x: x.max().item()),
        ((0, 1, 1, 0), lambda cp, x: cp.asnumpy(x)),
        ((0, 1, 1, 0), lambda cp, x: x.tolist()),
        ((0, 1, 1, 0), lambda cp, x: repr(x)),
        ((1, 0, 0, 1), lambda cp, x: cp.asarray(np.ones(3))),
        ((0, 0, 0, 1), lambda cp, x: x.set(np.ones((3, 4), "f4"))),
        ((0, 0, 0, 0), lambda cp, x: cp.asarray(x)),
        ((1, 0, 0, 0), lambda cp, x: cp.asarray(x, dtype="f8")),
        ((1, 0, 0, 0), lambda cp, x: cp.array(x)),
        ((0, 0, 0, 0), lambda cp, x: x.astype("f4", copy=False)),
        ((2, 0, 0, 1), lambda cp, x: x[[0, 1]]),
        ((2, 1, 1, 0), lambda cp, x: x[x > 3]),
        ((2, 1, 1, 0), lambda cp, x: cp.nonzero(x)),  # one array of indices for each axis
        ((2, 0, 0, 0), lambda cp, x: cp.where(x > 0, x, 0)),
        ((1, 0, 0, 0), lambda cp, x: np.float32(2) * x),
        ((1, 0, 0, 0), lambda cp, x: np.exp(x)),
        ((0, 1, 0, 0), lambda cp, x: cp.cuda.Device(0).synchronize()),
        ((0, 1, 0, 0), lambda cp, x: cp.cuda.Stream(non_blocking=True).synchronize()),
    ],
)
def test_counts(fake_cupy, x, expected, call):
    call(fake_cupy, x)
    assert counts(fake_cupy) == expected


def test_in_place_on_a_slice_is_free(fake_cupy, x):
    x[1:] *= 2
    assert counts(fake_cupy) == (0, 0, 0, 0)
    assert x.get()[1, 1] == 10


def test_matmul_into_out_is_free_unless_layouts_do_not_fit(fake_cupy, x):
    square, wide = fake_cupy.zeros((3, 3), "f4"), fake_cupy.zeros((3, 3), "f8")
    fake_cupy.counters.reset()
    fake_cupy.matmul(x, x.T, out=square)
    assert fake_cupy.counters.allocations == 0
    np.testing.assert_array_equal(square.get(), x.get() @ x.get().T)
    fake_cupy.counters.reset()
    fake_cupy.matmul(x[:, ::2], x[:, ::2].T, out=square)
    assert fake_cupy.counters.allocations == 2
    fake_cupy.matmul(x, x.T, out=wide)
    assert fake_cupy.counters.allocations == 3
    fake_cupy.matmul(x, x.T, out=square.T)
    assert fake_cupy.counters.allocations == 4


def test_results_agree_with_numpy(fake_cupy, x):
    host = x.get()
    rows = fake_cupy.asarray([2, 0])
    out = fake_cupy.zeros((2, 4), "f4")
    assert fake_cupy.take(x, rows, axis=0, out=out) is out
    np.testing.assert_array_equal(out.get(), host[[2, 0]])
    best = fake_cupy.zeros(3, "i4")
    fake_cupy.argmax(x, axis=1, out=best, dtype="i4")
    np.testing.assert_array_equal(best.get(), [3, 3, 3])
    fake_cupy.copyto(x, 0, where=x > 5)
    np.testing.assert_array_equal(x.get(), np.where(host > 5, 0, host))
    total = fake_cupy.zeros((4,), "f4")
    assert fake_cupy.add.reduce(x, axis=0, out=total) is total
    np.testing.assert_array_equal(total.get(), np.where(host > 5, 0, host).sum(axis=0))


def test_overflow_is_silent_as_on_a_device(fake_cupy):
    x = fake_cupy.asarray([1e308, 1e308])
    assert fake_cupy.exp(x).get()[0] == np.inf
    assert float(fake_cupy.sum(x)) == np.inf


def test_take_wants_an_out_of_the_same_dtype_and_shape(fake_cupy, x):
    rows = fake_cupy.asarray([0])
    with pytest.raises(TypeError, match="out is of float64; wanted float32"):
        fake_cupy.take(x, rows, axis=0, out=fake_cupy.zeros((1, 4), "f8"))
    with pytest.raises(ValueError, match=r"out is of shape \(1, 4, 1\); wanted \(1, 4\)"):
        fake_cupy.take(x, rows, axis=0, out=fake_cupy.zeros((1, 4, 1), "f4"))


def test_wrap_around_of_take(fake_cupy, x):
    assert fake_cupy.take(x, fake_cupy.asarray([-1, 5]), axis=0).get()[:, 0].tolist() == [8, 8]


def test_arrays_of_another_device_are_refused():
    with fakecupy.installed(devices=2) as cupy:
        with cupy.cuda.Device(1):
            there = cupy.zeros(3)
            there += 1
        assert there.device.id == 1
        with pytest.raises(ValueError, match="of device 1, while the current one is 0"):
            there + 1
        with pytest.raises(ValueError, match="of device 1, while the current one is 0"):
            cupy.sum(there)


def test_memory_runs_out(fake_cupy):
    fake_cupy.machine.free_bytes = 100
    with pytest.raises(fake_cupy.cuda.memory.OutOfMemoryError):
        fake_cupy.empty((10**9, 10**9))
    assert fake_cupy.counters.allocations == 0


def test_pickle_goes_through_the_host(fake_cupy, x):
    assert pickle.loads(pickle.dumps(x)).get().tolist() == x.get().tolist()
