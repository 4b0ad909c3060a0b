"""`mlpx doctor` and `mlpx devices`: what this machine has, what CUDA lacks, and what to do."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, Any

import typer

from mlpx.backend import Diagnosis, diagnose, get_backend
from mlpx.errors import DeviceError, MlpxError


def doctor(
    device: Annotated[
        str | None,
        typer.Option(
            help="Fail (exit code 1) unless this device can be used. "
            "[dim]\\[default: the environment variable MLPX_DEVICE, else cpu][/dim]",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of the table.")
    ] = False,
) -> None:
    """Say what mlpx finds on this machine, and why CUDA can or cannot be used."""
    diagnosis = diagnose()
    facts = survey(diagnosis)
    problem = device_problem(device)
    facts["asked"] = {"device": device or os.environ.get("MLPX_DEVICE"), "problem": problem}
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        show(facts)
    if problem is not None:
        raise typer.Exit(1)


def device_problem(device: str | None) -> str | None:
    """Why the device asked for (or MLPX_DEVICE) cannot be used; None when it can."""
    try:
        get_backend(device)
    except MlpxError as error:
        return str(error)
    return None


def survey(diagnosis: Diagnosis) -> dict[str, Any]:
    """Everything the table shows, as JSON types; memory in bytes."""
    import numpy as np

    cpu = get_backend("cpu")
    return {
        "python": sys.version.split()[0],
        "numpy": {"version": np.__version__, "blas": blas_name()},
        "cpu": {"name": cpu.name, "memory": cpu.memory()._asdict()},
        "cupy": cupy_facts(),
        "devices": cuda_devices(diagnosis),
        "engines": engine_facts(),
        "diagnosis": {**diagnosis._asdict(), "ok": diagnosis.ok},
    }


def blas_name() -> str:
    """The BLAS that NumPy was built with, e.g. "scipy-openblas 0.3.31"."""
    import numpy as np

    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def cupy_facts() -> dict[str, Any]:
    """Wheels, version and the CUDA versions of CuPy; None if unknown."""
    from mlpx.backend.diagnosis import Probe

    probe = Probe()
    facts: dict[str, Any] = {"wheels": probe.wheels(), "version": None}
    try:
        facts["version"] = probe.import_cupy().__version__
        facts["driver_cuda"] = probe.driver_version()
        facts["built_for_cuda"] = probe.runtime_version()
    except (ImportError, RuntimeError):
        pass  # the diagnosis says why
    return facts


def cuda_devices(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """Name and memory of each CUDA device; empty if CUDA cannot be used."""
    if not diagnosis.ok:
        return []
    from mlpx.backend.diagnosis import Probe

    devices = []
    for index in range(Probe().device_count()):
        name = f"cuda:{index}"
        try:
            backend = get_backend(name)
            facts: dict[str, Any] = {"name": backend.name, "memory": backend.memory()._asdict()}
        except DeviceError as error:
            facts = {"name": str(error), "memory": None}
        devices.append({"device": name, **facts})
    return devices


def engine_facts() -> list[dict[str, Any]]:
    """Each engine's name, what it uses here, and why it is missing if it is."""
    from mlpx.engines import PREFERENCE

    facts = []
    for engine in (make() for make in PREFERENCE):
        missing = engine.missing()
        uses = None if missing else engine.describe()
        facts.append({"name": engine.name, "uses": uses, "missing": missing})
    return facts


def show(facts: dict[str, Any]) -> None:
    """Print the facts as a table, then the diagnosis with its remedy."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="mlpx doctor", title_justify="left")
    for name in ("what", "found"):
        table.add_column(name, overflow="fold")  # a narrow terminal shows all of it, too
    for what, value in table_rows(facts):
        table.add_row(what, Text(value))  # square brackets are not markup
    console = Console()
    console.print(table)
    for line in verdict(facts):
        console.print(line, markup=False, highlight=False)


def table_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The lines of the table, in two columns."""
    numpy, cupy = facts["numpy"], facts["cupy"]
    version = cupy["version"] or ("does not load" if cupy["wheels"] else "not installed")
    return [
        ("Python", facts["python"]),
        ("NumPy", f"{numpy['version']} ({numpy['blas']})"),
        ("cpu", described(facts["cpu"])),
        ("CuPy", ", ".join([version, *cupy["wheels"]])),
        *((device["device"], described(device)) for device in facts["devices"]),
        *((f"engine {e['name']}", e["uses"] or e["missing"]) for e in facts["engines"]),
    ]


def described(device: dict[str, Any]) -> str:
    """Name and memory of a device, as text."""
    memory = device["memory"]
    if not memory or not memory["total_bytes"]:
        return str(device["name"])
    free, total = memory["free_bytes"] / 2**30, memory["total_bytes"] / 2**30
    return f"{device['name']}, {free:.1f} of {total:.1f} GiB free"


def verdict(facts: dict[str, Any]) -> list[str]:
    """What is wrong with CUDA, what to do, and why the requested device cannot be used."""
    diagnosis, problem = facts["diagnosis"], facts["asked"]["problem"]
    lines = [f"CUDA: {diagnosis['message']} [{diagnosis['status']}]"]
    if diagnosis["remedy"]:
        lines.append(f"  what to do: {diagnosis['remedy']}")
    if problem:
        lines.append(f"error: {problem}")
    elif not diagnosis["ok"]:
        lines.append("Everything runs on the CPU without it.")
    return lines
