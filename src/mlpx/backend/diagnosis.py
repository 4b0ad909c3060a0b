"""Why CUDA can or cannot be used here, and what to do about it.

CuPy reports ``cudaErrorInsufficientDriver`` both for an old driver and for no driver at all,
so the parts are checked one by one, in the order in which they depend on each other.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

CUPY_WHEEL = re.compile(r"cupy(-cuda\d+x?|-rocm-[\d-]+)?|amd-cupy")
CUDA_NOT_INITIALIZED = 3  # cudaErrorInitializationError: what a fork gets
CUDA_NO_DEVICE = 100  # cudaErrorNoDevice
CUDA_OLD_DRIVER = 35  # cudaErrorInsufficientDriver
CUDA_OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation
NVIDIA_PROC = Path("/proc/driver/nvidia")
_LIBRARY_WORDS = re.compile(
    r"nvrtc|cublas|cudart|cannot open (source|shared object) file|failed to load|failure finding",
    re.IGNORECASE,
)


class Diagnosis(NamedTuple):
    """A status word, what it means, and what to do ("" if all is well)."""

    status: str
    message: str
    remedy: str

    @property
    def ok(self) -> bool:
        """Whether CUDA can be used."""
        return self.status == "ok"


class Probe:
    """Questions about the machine; tests replace it with a double."""

    def wheels(self) -> list[str]:
        """Names of the installed distributions that contain a ``cupy`` package."""
        # By the names of their folders: opening and reading them all takes 0.1 s.
        folders = [path for place in sys.path for path in Path(place).glob("*-info")]
        names = {path.name.partition("-")[0].replace("_", "-").lower() for path in folders}
        return sorted(name for name in names if CUPY_WHEEL.fullmatch(name))

    def import_cupy(self) -> Any:
        """The cupy module; raises whatever its import raises."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what CuPy warns about is diagnosed here
            import cupy
        return cupy

    def driver_files(self) -> bool:
        """Whether there is a driver library or kernel module at all."""
        import ctypes

        if NVIDIA_PROC.exists():
            return True
        try:
            ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        except OSError:
            return False
        return True

    def driver_version(self) -> int:
        """The newest CUDA that the driver supports, as 13020 for 13.2; 0 without a driver."""
        return int(self.import_cupy().cuda.runtime.driverGetVersion())

    def runtime_version(self) -> int:
        """The CUDA that CuPy was built for, as 13020 for 13.2."""
        return int(self.import_cupy().cuda.runtime.runtimeGetVersion())

    def device_count(self) -> int:
        """How many devices this process sees; raises CUDA's errors."""
        return int(self.import_cupy().cuda.runtime.getDeviceCount())

    def visible_devices(self) -> str | None:
        """The value of ``CUDA_VISIBLE_DEVICES``, None if it is not set."""
        return os.environ.get("CUDA_VISIBLE_DEVICES")

    def exercise(self) -> None:
        """Allocate, compile one kernel (NVRTC), multiply once (cuBLAS); raise what they raise."""
        cupy = self.import_cupy()
        x = cupy.zeros((2, 2), dtype="float32")
        cupy.matmul(cupy.add(x, 1), x)


def diagnose(probe: Probe | None = None) -> Diagnosis:
    """The first thing that keeps CUDA from working, or status ``"ok"``.

    Statuses: ``ok``, ``cupy-missing``, ``cupy-twice``, ``cupy-broken``, ``no-driver``,
    ``driver-old``, ``no-device``, ``libraries-missing``, ``out-of-memory``, ``failed``.
    """
    probe = probe or Probe()
    for check in (_check_cupy, _check_driver, _check_devices, _check_work):
        diagnosis = check(probe)
        if diagnosis is not None:
            return diagnosis
    count = probe.device_count()
    noun = "device answers" if count == 1 else "devices answer"
    return Diagnosis("ok", f"{count} CUDA {noun}", "")


def _check_cupy(probe: Probe) -> Diagnosis | None:
    wheels = probe.wheels()
    if len(wheels) > 1:
        return Diagnosis(
            "cupy-twice",
            f"{len(wheels)} CuPy packages are installed over each other: {', '.join(wheels)}",
            f"pip uninstall -y {' '.join(wheels)}; then install the one for your driver: "
            "pip install 'mlpx[cuda13]' (CUDA 13) or 'mlpx[cuda12]' (CUDA 12)",
        )
    try:
        probe.import_cupy()
    except ImportError as error:
        return _import_failure(error)
    return None


def _import_failure(error: ImportError) -> Diagnosis:
    if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
        return Diagnosis(
            "cupy-missing",
            "CuPy is not installed",
            "pip install 'mlpx[cuda13]' (driver 580 or newer) or 'mlpx[cuda12]'",
        )
    return Diagnosis(
        "cupy-broken",
        f"CuPy is installed but cannot be imported: {_first_line(error)}",
        "reinstall it: pip install --force-reinstall 'mlpx[cuda13]' (or 'mlpx[cuda12]')",
    )


def _check_driver(probe: Probe) -> Diagnosis | None:
    driver, runtime = probe.driver_version(), probe.runtime_version()
    if driver == 0:
        return _no_driver(probe.driver_files())
    if driver // 1000 < runtime // 1000:  # CUDA promises compatibility within a major version
        return _old_driver(driver, runtime)
    return None


def _no_driver(files: bool) -> Diagnosis:
    if files:
        return Diagnosis(
            "no-driver",
            "an NVIDIA driver is installed but does not answer",
            "run nvidia-smi; reboot after a driver update; start a container with --gpus all",
        )
    return Diagnosis(
        "no-driver",
        "CuPy is installed, but there is no NVIDIA driver on this machine",
        "install the NVIDIA driver; in a container, start it with --gpus all; "
        "without an NVIDIA GPU use device='cpu'",
    )


def _old_driver(driver: int, runtime: int) -> Diagnosis:
    older = runtime // 1000 - 1
    return Diagnosis(
        "driver-old",
        f"the driver serves CUDA up to {_version(driver)}; CuPy is built for {_version(runtime)}",
        f"update the NVIDIA driver, or install CuPy for the older CUDA: "
        f"pip uninstall cupy-cuda{runtime // 1000}x; pip install 'mlpx[cuda{older}]'",
    )


def _check_devices(probe: Probe) -> Diagnosis | None:
    try:
        if probe.device_count() > 0:
            return None
    except RuntimeError as error:
        status = getattr(error, "status", None)
        if status == CUDA_OLD_DRIVER:
            return _old_driver(probe.driver_version(), probe.runtime_version())
        if status == CUDA_NOT_INITIALIZED:
            return _not_initialized(error)
        if status != CUDA_NO_DEVICE:
            return _failed(error)
    return _no_device(probe.visible_devices())


def _not_initialized(error: Exception) -> Diagnosis:
    return Diagnosis(
        "failed",
        f"CUDA cannot be started in this process: {_first_line(error)}",
        "if it was forked from one that had used CUDA, start it with "
        "multiprocessing.get_context('spawn'), or use CUDA in the children only; else run "
        "nvidia-smi, and reboot after a driver update",
    )


def _no_device(visible: str | None) -> Diagnosis:
    if visible is None:
        return Diagnosis(
            "no-device",
            "the driver answers but shows no CUDA device",
            "check nvidia-smi -L; in a container, start it with --gpus all",
        )
    return Diagnosis(
        "no-device",
        f"CUDA_VISIBLE_DEVICES={visible!r} hides every CUDA device",
        "unset CUDA_VISIBLE_DEVICES, or set it to indices that nvidia-smi -L lists, e.g. 0",
    )


def _check_work(probe: Probe) -> Diagnosis | None:
    try:
        probe.exercise()
    except Exception as error:  # whatever fails here, the user needs to read
        return _work_failure(error)
    return None


def _work_failure(error: Exception) -> Diagnosis:
    if isinstance(error, MemoryError) or getattr(error, "status", None) == CUDA_OUT_OF_MEMORY:
        return Diagnosis(
            "out-of-memory",
            f"the device has no memory left: {_first_line(error)}",
            "see with nvidia-smi who uses it; end that process or choose another device",
        )
    if _LIBRARY_WORDS.search(str(error)):
        return Diagnosis(
            "libraries-missing",
            f"CUDA libraries that CuPy needs are missing: {_first_line(error)}",
            "pip install 'cupy-cuda13x[ctk]' (or 'cupy-cuda12x[ctk]'), which brings NVRTC and "
            "cuBLAS; or install the CUDA toolkit",
        )
    return _failed(error)


def _failed(error: Exception) -> Diagnosis:
    return Diagnosis(
        "failed",
        f"CUDA fails: {type(error).__name__}: {_first_line(error)}",
        "run nvidia-smi; reboot after a driver update; see CuPy's installation guide",
    )


def _first_line(error: Exception) -> str:
    text = [line.strip(" =") for line in str(error).splitlines()]
    return next((line for line in text if line), type(error).__name__)


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
