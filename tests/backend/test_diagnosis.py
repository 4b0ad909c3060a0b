"""Every reason why CUDA cannot be used is told apart, and each has its remedy."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace

import fakecupy
import pytest

from mlpx.backend import diagnosis, get_backend
from mlpx.backend.diagnosis import Probe, diagnose
from mlpx.errors import DeviceError, DeviceMemoryError


class CudaError(RuntimeError):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


class Machine(Probe):
    """A machine on which all is fine, but for what the test says."""

    def __init__(self, **answers):
        self.answers = {
            "wheels": ["cupy-cuda13x"], "import_cupy": None, "driver_files": True,
            "driver_version": 13020, "runtime_version": 13020, "device_count": 2,
            "visible_devices": None, "exercise": None, **answers,
        }  # fmt: skip

    def __getattribute__(self, name):
        if name in ("answers", "__class__"):
            return super().__getattribute__(name)
        answer = self.answers[name]

        def reply():
            if isinstance(answer, Exception):
                raise answer
            return answer

        return reply


MISSING = ModuleNotFoundError("No module named 'cupy'", name="cupy")
NVRTC = RuntimeError('Failure finding "libnvrtc.so.13 or libnvrtc.so.12": No such file')
CUBLAS = ImportError("libcublas.so.13: cannot open shared object file: No such file or directory")
HEADERS = Exception('fatal error: cannot open source file "cuda_fp16.h"')
OLD = CudaError(35, "cudaErrorInsufficientDriver: CUDA driver version is insufficient")
NONE = CudaError(100, "cudaErrorNoDevice: no CUDA-capable device is detected")
STATES = [
    ("ok", {}, "2 CUDA devices answer", ""),
    ("ok", {"device_count": 1}, "1 CUDA device answers", ""),
    ("ok", {"driver_version": 13000, "runtime_version": 13020}, "2 CUDA", ""),
    ("ok", {"wheels": []}, "2 CUDA", ""),  # conda and source builds
    ("cupy-missing", {"wheels": [], "import_cupy": MISSING}, "not installed", "mlpx[cuda13]"),
    ("cupy-twice", {"wheels": ["cupy-cuda12x", "cupy-cuda13x"]}, "cupy-cuda12x, cupy-cuda13x",
     "pip uninstall -y cupy-cuda12x cupy-cuda13x"),
    ("cupy-broken", {"import_cupy": ImportError("\n=====\nbad wheel\n")}, "imported: bad wheel",
     "--force-reinstall"),
    ("cupy-broken", {"import_cupy": ModuleNotFoundError("No module named 'x'", name="x")},
     "No module named 'x'", "--force-reinstall"),
    ("no-driver", {"driver_version": 0, "driver_files": False, "device_count": OLD},
     "there is no NVIDIA driver", "--gpus all"),
    ("no-driver", {"driver_version": 0, "device_count": OLD}, "does not answer", "reboot"),
    ("driver-old", {"driver_version": 12080, "device_count": OLD},
     "up to 12.8; CuPy is built for 13.2", "mlpx[cuda12]"),
    ("driver-old", {"device_count": OLD}, "driver serves CUDA up to 13.2", "update the NVIDIA"),
    ("no-device", {"device_count": NONE}, "shows no CUDA device", "nvidia-smi -L"),
    ("no-device", {"device_count": 0}, "shows no CUDA device", "nvidia-smi -L"),
    ("no-device", {"device_count": NONE, "visible_devices": ""}, "CUDA_VISIBLE_DEVICES=''",
     "unset CUDA_VISIBLE_DEVICES"),
    ("no-device", {"device_count": NONE, "visible_devices": "-1"}, "CUDA_VISIBLE_DEVICES='-1'",
     "unset CUDA_VISIBLE_DEVICES"),
    ("failed", {"device_count": CudaError(999, "cudaErrorUnknown")}, "cudaErrorUnknown",
     "nvidia-smi"),
    ("libraries-missing", {"exercise": NVRTC}, "libnvrtc.so.13", "[ctk]"),
    ("libraries-missing", {"exercise": CUBLAS}, "libcublas.so.13", "[ctk]"),
    ("libraries-missing", {"exercise": HEADERS}, "cuda_fp16.h", "[ctk]"),
    ("out-of-memory", {"exercise": MemoryError("Out of memory allocating 512 bytes")},
     "no memory left: Out of memory allocating 512", "choose another device"),
    ("out-of-memory", {"exercise": CudaError(2, "cudaErrorMemoryAllocation: out of memory")},
     "no memory left", "choose another device"),
    ("failed", {"exercise": CudaError(719, "cudaErrorLaunchFailure")}, "cudaErrorLaunchFailure",
     "nvidia-smi"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "answers", "message", "remedy"), STATES)
def test_states(status, answers, message, remedy):
    found = diagnose(Machine(**answers))
    assert found.status == status
    assert message in found.message
    assert remedy in found.remedy
    assert found.ok == (status == "ok") == (not found.remedy)


def test_messages_are_one_line():
    for _, answers, _, _ in STATES:
        found = diagnose(Machine(**answers))
        assert "\n" not in found.message + found.remedy


def test_two_wheels_are_not_imported():
    both = Machine(wheels=["cupy", "cupy-cuda13x"], import_cupy=AssertionError("imported"))
    assert diagnose(both).status == "cupy-twice"


@pytest.mark.parametrize(
    ("name", "counts"),
    [("cupy", 1), ("CuPy-cuda12x", 1), ("cupy-cuda13x", 1), ("cupy-rocm-7-0", 1),
     ("cupy-xarray", 0), ("cupyx", 0), ("numpy", 0)],
)  # fmt: skip
def test_which_distributions_hold_cupy(monkeypatch, tmp_path, name, counts):
    (tmp_path / f"{name.replace('-', '_')}-13.6.0.dist-info").mkdir()
    monkeypatch.setattr("sys.path", ["no such folder", str(tmp_path), str(tmp_path)])
    assert Probe().wheels() == [name.lower()] * counts


def test_driver_files(monkeypatch, tmp_path):
    import ctypes

    def absent(name):
        raise OSError(name)

    monkeypatch.setattr(diagnosis, "NVIDIA_PROC", tmp_path / "absent")
    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert not Probe().driver_files()
    asked = []
    monkeypatch.setattr(ctypes, "CDLL", asked.append)
    for system in ("posix", "nt"):
        monkeypatch.setattr(diagnosis, "os", SimpleNamespace(name=system))
        assert Probe().driver_files()
    assert asked == ["libcuda.so.1", "nvcuda.dll"]
    monkeypatch.setattr(ctypes, "CDLL", absent)
    monkeypatch.setattr(diagnosis, "NVIDIA_PROC", tmp_path)
    assert Probe().driver_files()


@pytest.mark.parametrize(
    ("pretended", "status"),
    [
        ({}, "ok"),
        ({"driver": 0}, "no-driver"),
        ({"driver": 12040}, "driver-old"),
        ({"devices": 0}, "no-device"),
        ({"free_bytes": 1}, "out-of-memory"),
    ],
)
def test_the_probe_asks_cupy(monkeypatch, pretended, status):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with fakecupy.installed(**pretended):
        found = diagnose()
        assert found.status == status
        if not found.ok:
            kind = DeviceMemoryError if status == "out-of-memory" else DeviceError
            with pytest.raises(kind) as caught:
                get_backend("cuda")
            assert found.message in str(caught.value)
            assert found.remedy in str(caught.value)


def test_cuda_visible_devices_is_read(monkeypatch, fake_cupy):
    fake_cupy.machine.devices = 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert "CUDA_VISIBLE_DEVICES='7'" in diagnose().message


def test_this_machine():
    found = diagnose()
    if importlib.util.find_spec("cupy") is None:
        assert found.status == "cupy-missing"
        assert "cupy" not in sys.modules
    elif found.ok:
        assert get_backend("cuda").memory().total_bytes > 0
    else:
        with pytest.raises(DeviceError, match="cannot be used"):
            get_backend("cuda")
