"""Backends: which device a name opens, and what a device does."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import tracemalloc

import fakecupy
import numpy as np
import pytest

from mlpx import backend as backends
from mlpx.backend import base, choose_device, cpu, get_backend
from mlpx.errors import (
    DeviceError,
    DeviceMemoryError,
    InputTypeError,
    UnknownNameError,
)


@pytest.fixture(autouse=True)
def no_default(monkeypatch):
    monkeypatch.delenv("MLPX_DEVICE", raising=False)


@pytest.fixture(params=["cpu", "cuda"])
def backend(request, fake_cupy):
    opened = get_backend(request.param)
    fake_cupy.counters.reset()
    return opened


def test_default_is_the_cpu_and_mlpx_device_changes_it(monkeypatch, fake_cupy):
    assert get_backend().device == "cpu"
    monkeypatch.setenv("MLPX_DEVICE", "cuda")
    assert get_backend().device == "cuda:0"
    assert get_backend("cpu").device == "cpu"
    monkeypatch.setenv("MLPX_DEVICE", "")
    assert get_backend().device == "cpu"


def test_one_object_for_each_device():
    with fakecupy.installed(devices=2):
        assert get_backend("cuda") is get_backend("cuda:0") is get_backend(" CUDA ")
        assert get_backend("cuda:1") is not get_backend("cuda:0")
        assert get_backend(get_backend("cuda:1")).device == "cuda:1"
    assert get_backend("cpu") is get_backend("cpu")


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_are_the_same_backend(backend, again):
    assert again(backend) is backend


def test_a_backend_of_the_users_is_pickled_as_its_device():
    class Own(cpu.CpuBackend):
        pass

    assert pickle.loads(pickle.dumps(Own())) is get_backend("cpu")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("gpu", "did you mean 'cuda'"), ("GPU:1", "did you mean 'cuda'"), ("cpux", "'cpu'"),
     ("cdua", "'cuda'"), ("cpu:1", "known"), ("cuda:", "known"), ("cuda:-1", "known"),
     ("cuda:1:2", "known")],
)  # fmt: skip
def test_unknown_names_get_a_suggestion(name, hint):
    with pytest.raises(UnknownNameError, match=hint) as caught:
        get_backend(name)
    assert repr(name) in str(caught.value)


def test_a_bad_mlpx_device_is_named(monkeypatch):
    monkeypatch.setenv("MLPX_DEVICE", "gpu")
    with pytest.raises(UnknownNameError, match="MLPX_DEVICE"):
        get_backend()


@pytest.mark.parametrize("device", [0, 1.5, b"cpu", ["cpu"]])
def test_device_must_be_a_string(device):
    with pytest.raises(InputTypeError, match="wanted a string"):
        get_backend(device)


def test_index_out_of_range_says_how_many_there_are(fake_cupy):
    with pytest.raises(DeviceError, match=r"'cuda:3' is not there: .* sees 1 CUDA device "):
        get_backend("cuda:3")


def test_cuda_without_cupy_says_why(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    fakecupy.forget_devices()
    with pytest.raises(DeviceError, match=r"'cuda:0' cannot be used: .*CuPy"):
        get_backend("cuda")
    choice = choose_device()
    assert choice.device == "cpu"
    assert "CuPy" in choice.reason
    assert get_backend("auto") is get_backend("cpu")


def test_auto_takes_a_usable_device(fake_cupy):
    assert get_backend("auto").device == "cuda:0"
    fakecupy.forget_devices()
    fake_cupy.machine.devices = 0
    assert get_backend("auto").device == "cpu"
    assert choose_device().reason.startswith("the driver answers but shows no CUDA device")


def test_names_for_people(fake_cupy):
    assert get_backend("cuda").name == "Fake CUDA device"
    assert "thread" in get_backend("cpu").name
    assert "cuda:0: Fake CUDA device" in repr(get_backend("cuda"))


def test_cupy_is_imported_only_when_asked_for():
    code = (
        "import sys; from mlpx.backend import get_backend, array_backend; import numpy;"
        "get_backend('cpu').asarray([1.0]); array_backend(numpy.ones(2));"
        "assert 'cupy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_table_is_the_only_list(monkeypatch):
    class Other(backends.CpuBackend):
        kind = "other"

        @classmethod
        def open(cls, index):
            made = cls()
            made.device = f"other:{index}"
            return made

    monkeypatch.setitem(backends.BACKENDS, "other", Other)
    monkeypatch.setattr(backends, "_opened", {})
    assert get_backend("other:2").device == "other:2"


def test_take_writes_into_out_and_allocates_nothing(backend, fake_cupy):
    x = backend.asarray(np.arange(12, dtype=np.float32).reshape(4, 3))
    rows, out = backend.asarray(np.array([3, 0, 3])), backend.empty((3, 3))
    fake_cupy.counters.reset()
    assert backend.take(x, rows, out=out) is out
    assert fake_cupy.counters == type(fake_cupy.counters)()
    np.testing.assert_array_equal(backend.to_numpy(out)[:, 0], [9, 0, 9])


def test_take_on_the_cpu_uses_no_buffer():
    cpu_backend = get_backend("cpu")
    x, out, rows = np.zeros((1000, 1000)), np.empty((1000, 1000)), np.arange(1000)
    tracemalloc.start()
    try:
        cpu_backend.take(x, rows, out=out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < x.nbytes / 10


def test_synchronize_and_stream(backend, fake_cupy):
    backend.synchronize()
    assert fake_cupy.counters.synchronizations == (backend.kind == "cuda")
    with backend.stream():
        x = backend.zeros(3)
    assert x.shape == (3,)
    if backend.kind == "cuda":
        assert fake_cupy.counters.synchronizations == 3  # on entry and on leaving


@pytest.mark.parametrize("make", ["empty", "zeros"])
def test_arrays_on_the_host_begin_at_a_cache_line(make):
    kept = []
    for shape in (0, 1, 7, np.int64(100), (3, 5), (0, 4), (2, 3, 1), 100_000):
        for dtype in (np.float32, "float64", np.int8, bool):
            kept.append(made := getattr(get_backend("cpu"), make)(shape, dtype))
            assert (made.shape, made.dtype) == (np.empty(shape).shape, dtype)
            assert made.size == 0 or made.ctypes.data % 64 == 0
            assert made.flags.c_contiguous
            assert make == "empty" or not made.any()


def test_slice_elements():
    assert get_backend("cpu").slice_elements == 65536
    with fakecupy.installed():
        assert get_backend("cuda").slice_elements > 10**12


def test_memory(backend):
    memory = backend.memory()
    assert memory.used_bytes + memory.free_bytes == memory.total_bytes
    assert memory.free_bytes > 0


def test_memory_of_the_host_without_proc(monkeypatch, tmp_path):
    monkeypatch.setattr(cpu, "MEMINFO", tmp_path / "absent")
    memory = get_backend("cpu").memory()
    assert memory.total_bytes > memory.free_bytes > 0
    monkeypatch.setattr(cpu.os, "sysconf", lambda name: (_ for _ in ()).throw(ValueError))
    assert get_backend("cpu").memory() == base.Memory(0, 0, 0)


def test_memory_reads_what_is_available(monkeypatch, tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable: 40 kB\n")
    monkeypatch.setattr(cpu, "MEMINFO", tmp_path / "meminfo")
    assert get_backend("cpu").memory() == (60 * 1024, 40 * 1024, 100 * 1024)


def test_cpu_name(monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: Some CPU 9000\n")
    monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(cpu, "usable_cores", lambda: 1)
    cpu.cpu_model.cache_clear()
    try:
        assert get_backend("cpu").name == "Some CPU 9000 (1 thread)"
        cpu.cpu_model.cache_clear()
        monkeypatch.setattr("platform.processor", lambda: "some processor")
        for text in ("", "processor : 0\n"):
            (tmp_path / "cpuinfo").write_text(text)
            cpu.cpu_model.cache_clear()
            assert cpu.cpu_model() == "some processor"
        cpu.cpu_model.cache_clear()
        monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "absent")
        assert cpu.cpu_model() == "some processor"
    finally:
        cpu.cpu_model.cache_clear()


@pytest.mark.parametrize("make", ["empty", "zeros"])
def test_device_out_of_memory_says_how_much(fake_cupy, make):
    cuda = get_backend("cuda")
    wide = cuda.zeros(1000)
    fake_cupy.machine.free_bytes = 1000
    with pytest.raises(DeviceMemoryError, match=r"4000000 bytes.*cuda:0.* 1000 of") as caught:
        getattr(cuda, make)((1000, 1000))
    assert isinstance(caught.value, MemoryError)
    with pytest.raises(DeviceMemoryError, match="needs 8000 bytes"):
        cuda.asarray(np.ones(1000))
    with pytest.raises(DeviceMemoryError, match="needs 8000 bytes"):
        cuda.asarray(wide, "float64")


def test_threads_where_the_system_tells_no_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cpu.usable_cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cpu.usable_cores() == 1


def test_host_out_of_memory_says_how_much():
    with pytest.raises(DeviceMemoryError, match="needs 4000000000000000000 bytes; the host has"):
        get_backend("cpu").empty((10**9, 10**9))


@pytest.mark.parametrize(
    ("text", "size"), [("2048K\n", 2 << 20), ("524288", 512 << 10), ("0K", 1 << 20), ("?", 1 << 20)]
)
def test_second_level_cache(text, size, tmp_path, monkeypatch):
    (tmp_path / "size").write_text(text)
    monkeypatch.setattr(cpu, "CACHE", tmp_path / "size")
    cpu.second_level_cache.cache_clear()
    assert cpu.second_level_cache() == size
    monkeypatch.setattr(cpu, "CACHE", tmp_path / "absent")
    cpu.second_level_cache.cache_clear()
    assert cpu.second_level_cache() == 1 << 20
    cpu.second_level_cache.cache_clear()
