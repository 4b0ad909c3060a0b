"""The options of `mlpx bench`, and what the benchmark makes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mlpx.benchmark.workloads import WORKLOADS
from mlpx.cli.options import ALL_PEERS, known, parts, sizes
from mlpx.engines import Engine
from mlpx.errors import MlpxError

if TYPE_CHECKING:
    from mlpx.benchmark.session import SessionOptions

QUICK_SIZES = (1, 32, 512)


@dataclass(frozen=True)
class BenchOptions:
    """What the command line says, as it says it: lists are still text."""

    workload: str
    layers: str | None
    batch_sizes: str | None
    device: str | None
    dtype: str
    peers: str
    phase: str
    engine: str | None
    threads: int | None
    seconds: float
    precision: str
    seed: int
    quick: bool
    accept_noise: bool
    accuracy_seconds: float
    advise: bool
    out: Path | None


def session_options(options: BenchOptions) -> SessionOptions:
    """The options as the benchmark takes them.

    Raises typer.BadParameter for names and numbers that mean nothing.
    """
    from mlpx.backend.cpu import usable_cores
    from mlpx.benchmark.contenders.base import PEERS
    from mlpx.benchmark.report.compare import parse_share
    from mlpx.benchmark.rounds import Rules
    from mlpx.benchmark.session import SessionOptions
    from mlpx.benchmark.workloads import ARITHMETIC, PHASES, parse_workload

    peers = ALL_PEERS if options.peers.strip() == "all" else options.peers
    names = _workload_names(options.layers or options.workload)
    usable = usable_cores()
    if (options.threads or 1) > usable:
        raise typer.BadParameter(
            f"{options.threads}; this process may use {usable}", param_hint="--threads"
        )
    try:
        workloads = tuple(parse_workload(name) for name in names)
        precision = parse_share(options.precision)
    except MlpxError as error:
        raise typer.BadParameter(str(error)) from None
    rules = Rules(budget_s=options.seconds, precision=precision, seed=options.seed)
    if options.quick:
        rules = replace(Rules.quick(), seed=options.seed)
    return SessionOptions(
        workloads=workloads,
        batch_sizes=sizes(options.batch_sizes) or (QUICK_SIZES if options.quick else None),
        phases=known("--phase", options.phase, PHASES),  # type: ignore[arg-type]
        dtypes=known("--dtype", options.dtype, ARITHMETIC),
        devices=parts(options.device) or _default_devices(options.advise),
        peers=known("--peers", peers, PEERS),
        engines=known("--engine", options.engine, Engine.table) if options.engine else None,
        threads=options.threads or usable,
        seed=options.seed,
        rules=replace(rules, accept_noise=options.accept_noise),
        accuracy_s=options.accuracy_seconds,
    )


def _workload_names(text: str) -> tuple[str, ...]:
    """Names with commas between, all of them, or one net's widths."""
    names = parts(text)
    if names == ("all",):
        return tuple(WORKLOADS)
    widths = names and all(part.replace("x", "").isdigit() for part in names)
    return (text,) if widths else names


def _default_devices(advise: bool) -> tuple[str, ...]:
    from mlpx.benchmark.environment import devices_here

    return tuple(devices_here()) if advise else ("cpu",)
