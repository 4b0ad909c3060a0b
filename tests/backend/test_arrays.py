"""What may become an array on which device, what is copied, and what is refused."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import fakecupy
import numpy as np
import pytest

from mlpx.backend import array_backend, get_backend
from mlpx.errors import DeviceError, DeviceMemoryError, InputError, InputTypeError


class Tensor:
    """A tensor of another library: DLPack and nothing else of NumPy's."""

    def __init__(self, array, *, device=(1, 0), requires_grad=False):
        self.array, self.where, self.requires_grad = array, device, requires_grad
        self.dtype = array.dtype

    def __dlpack_device__(self):
        return self.where

    def __dlpack__(self, **keywords):
        if self.requires_grad:
            raise BufferError("can't export tensors that require gradient")
        return self.array.__dlpack__(**keywords)

    def detach(self):
        return Tensor(self.array, device=self.where)

    def cpu(self):
        return Tensor(self.array.get())


class CudaInterface:
    """What numba's device arrays offer."""

    def __init__(self, array):
        self.array = array
        self.__cuda_array_interface__ = array.__cuda_array_interface__


class Locked:
    """Says that it is an array, and gives none."""

    def __array__(self, *_, **__):
        raise TypeError("no copy is given away")


@pytest.fixture(params=["cpu", "cuda"])
def backend(request, fake_cupy):
    opened = get_backend(request.param)
    fake_cupy.counters.reset()
    return opened


@pytest.mark.parametrize("shape", [5, (2, 3), (), (0, 4)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_creation(backend, shape, dtype):
    empty, zeros = backend.empty(shape, dtype), backend.zeros(shape, dtype)
    for array in (empty, zeros):
        assert isinstance(array, backend.xp.ndarray)
        assert array.shape == np.empty(shape).shape
        assert array.dtype == dtype
    np.testing.assert_array_equal(backend.to_numpy(zeros), np.zeros(shape, dtype))
    assert backend.zeros(3).dtype == np.float32


@pytest.mark.parametrize(
    "x",
    [
        [[1, 2], [3, 4]],
        ((1.0, 2.0), (3.0, 4.0)),
        np.arange(6, dtype=np.uint8).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(12.0)[::3],
        np.array([True, False]),
        np.float32(3),
        2.5,
        Tensor(np.arange(3.0)),
        Tensor(np.arange(3.0), requires_grad=True),
        SimpleNamespace(__array__=lambda *a, **k: np.arange(2.0)),
        memoryview(b"abc"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_asarray_keeps_values_and_dtype(backend, x):
    if isinstance(x, SimpleNamespace):
        x = type("Table", (), {"__array__": lambda self, *a, **k: np.arange(2.0)})()
    plain = x.array if isinstance(x, Tensor) else x
    array = backend.asarray(x)
    assert isinstance(array, backend.xp.ndarray)
    assert array.dtype == np.asarray(plain).dtype
    np.testing.assert_array_equal(backend.to_numpy(array), np.asarray(plain))
    assert backend.asarray(x, "float64").dtype == np.float64


def test_what_gives_no_memory_may_still_give_an_array():
    class Table(Tensor):
        def __array__(self, *_, **__):
            return self.array + 1

    x = Table(np.arange(3.0))
    x.detach = lambda: Table(np.arange(3.0), requires_grad=True)
    x.requires_grad = True
    np.testing.assert_array_equal(get_backend("cpu").asarray(x), [1.0, 2.0, 3.0])


def test_the_cpu_copies_nothing_it_need_not():
    cpu_backend, x = get_backend("cpu"), np.arange(6, dtype=np.float32)
    x.flags.writeable = False
    assert cpu_backend.asarray(x) is x
    assert cpu_backend.asarray(x, np.float32) is x
    assert cpu_backend.to_numpy(x) is x
    fresh = np.arange(6.0)
    assert np.shares_memory(cpu_backend.asarray(Tensor(fresh)), fresh)
    assert np.shares_memory(cpu_backend.asarray(Tensor(fresh, requires_grad=True)), fresh)


def test_device_arrays_are_adopted_without_a_copy(fake_cupy):
    cuda = get_backend("cuda")
    x = fake_cupy.asarray(np.arange(4.0))
    fake_cupy.counters.reset()
    assert cuda.asarray(x) is x
    adopted = [cuda.asarray(Tensor(x, device=(2, 0))), cuda.asarray(CudaInterface(x)),
               cuda.asarray(Tensor(x, device=(2, 0), requires_grad=True))]  # fmt: skip
    assert fake_cupy.counters == type(fake_cupy.counters)()
    for array in adopted:
        assert isinstance(array, fake_cupy.ndarray)
        assert array.data.ptr == x.data.ptr


def test_device_arrays_come_to_the_host_once(fake_cupy):
    x = fake_cupy.asarray(np.arange(4.0))
    for given in (x, Tensor(x, device=(2, 0)), CudaInterface(x)):
        fake_cupy.counters.reset()
        host = get_backend("cpu").asarray(given)
        assert isinstance(host, np.ndarray)
        np.testing.assert_array_equal(host, np.arange(4.0))
        assert fake_cupy.counters.to_host == 1
        assert fake_cupy.counters.allocations == 0


def test_device_memory_without_cupy_is_refused(fake_cupy, monkeypatch):
    given = CudaInterface(fake_cupy.asarray(np.arange(4.0)))
    with monkeypatch.context() as patch:  # undone before the fake takes itself away
        patch.delitem(sys.modules, "cupy")
        with pytest.raises(DeviceError, match="CuPy is not loaded"):
            get_backend("cpu").asarray(given)


def test_the_smaller_of_two_dtypes_crosses_the_bus(fake_cupy, monkeypatch):
    sent = []
    upload = fake_cupy.asarray
    monkeypatch.setattr(fake_cupy, "asarray", lambda x: sent.append(x.dtype) or upload(x))
    cuda = get_backend("cuda")
    assert cuda.asarray(np.ones(3, np.uint8), "float32").dtype == np.float32
    assert cuda.asarray(np.ones(3), "float32").dtype == np.float32
    assert sent == [np.uint8, np.float32]


def test_arrays_go_to_the_device_that_was_asked_for():
    with fakecupy.installed(devices=2) as cupy:
        first, second = get_backend("cuda:0"), get_backend("cuda:1")
        x = first.asarray(np.arange(4.0))
        y = second.asarray(x)
        assert (x.device.id, y.device.id) == (0, 1)
        assert second.zeros(3).device.id == second.asarray([1.0]).device.id == 1
        assert second.asarray(Tensor(y, device=(2, 1)), "float32").device.id == 1
        assert array_backend(y) is array_backend(Tensor(y, device=(2, 1))) is second
        assert cupy.machine.current == 0
        with second.stream():
            assert (y + 1).device.id == 1
        np.testing.assert_array_equal(first.to_numpy(y), np.arange(4.0))


@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (np.array(["a", "b"]), InputTypeError, "string"),
        (np.array([b"a"]), InputTypeError, "bytes"),
        (np.array([None, 1]), InputTypeError, "object"),
        (np.array(["2020-01-01"], dtype="M8[D]"), InputTypeError, "date"),
        ([[1, 2], [3]], InputError, "no array can be made"),
        ({"a": 1}, InputTypeError, "dict is not an array"),
        (None, InputTypeError, "NoneType is not an array"),
        ("text", InputTypeError, "str is not an array"),
        ({1, 2}, InputTypeError, "set is not an array"),
        (Locked(), InputTypeError, "Locked.*no copy is given away"),
        (SimpleNamespace(nnz=3, toarray=None), InputTypeError, r"sparse.*x\.toarray\(\)"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(backend, x, error, match):
    with pytest.raises(error, match=match):
        backend.asarray(x)


def test_complex_is_not_cast_to_real(backend):
    assert backend.asarray(np.ones(2, complex)).dtype == complex
    for x in (np.ones(2, complex), np.ones(2, np.complex64)):
        with pytest.raises(InputTypeError, match="complex"):
            backend.asarray(x, "float64")
    with pytest.raises(InputTypeError, match="complex"):
        backend.asarray(backend.asarray(np.ones(2, complex)), "float64")


def test_a_tensor_of_a_dtype_numpy_lacks_is_named(fake_cupy):
    class Bfloat16(Tensor):
        def __dlpack__(self, **keywords):
            raise BufferError("bfloat16 is not supported")

    for backend, x in ((get_backend("cpu"), np.ones(2)), (get_backend("cuda"), fake_cupy.ones(2))):
        given = Bfloat16(x, device=(1 if isinstance(x, np.ndarray) else 2, 0))
        with pytest.raises(InputTypeError, match=r"Bfloat16.*bfloat16 is not supported"):
            backend.asarray(given)


def test_array_backend(fake_cupy):
    x = fake_cupy.zeros(3)
    for host in (
        np.ones(2),
        np.float32(1),
        [1, 2],
        (1,),
        Tensor(np.ones(2)),
        Tensor(np.ones(2), device=(3, 0)),
    ):
        assert array_backend(host) is get_backend("cpu")
    for there in (x, Tensor(x, device=(2, 0)), Tensor(x, device=(13, 0)), CudaInterface(x)):
        assert array_backend(there) is get_backend("cuda")
    for neither in (None, "abc", {}, object(), Tensor(np.ones(2), device=(8, 0))):
        with pytest.raises(InputTypeError, match="is not an array"):
            array_backend(neither)


def test_what_comes_from_another_device_needs_room_on_this_one():
    """Also where its dtype is not NumPy's."""
    with fakecupy.installed(devices=2) as cupy:
        here, there = get_backend("cuda:0"), get_backend("cuda:1").zeros(1000)
        cupy.machine.free_bytes = 100
        with pytest.raises(DeviceMemoryError, match="needs 4000 bytes; cuda:0"):
            here.asarray_in_reach(there)
        foreign = Tensor(there, device=(2, 1))
        foreign.dtype = SimpleNamespace(itemsize=4)
        with pytest.raises(DeviceMemoryError, match=r"needs room for .*; cuda:0"):
            here.asarray(foreign)
