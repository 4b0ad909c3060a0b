"""`mlpx bench`: how fast this net trains here, against whom, and at which batch size a GPU pays."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlpx.benchmark.workloads import ARITHMETIC, WORKLOADS
from mlpx.cli.bench.options import BenchOptions
from mlpx.cli.help import Command, Group, described
from mlpx.cli.options import ALL_PEERS, Debug, folder, listed
from mlpx.engines import Engine

EXAMPLES = """[bold]Examples[/bold]

mlpx bench --quick

mlpx bench --workload wide --batch-sizes 32,512 --peers torch,jax --out runs/bench

mlpx bench --workload mnist --device cpu,cuda --seconds 60 --out runs/bench

mlpx bench --advise --layers 784,50,10

mlpx bench compare old/bench.json new/bench.json --fail-slower 5%
"""

bench = typer.Typer(
    cls=Group, no_args_is_help=False, invoke_without_command=True, rich_markup_mode="rich"
)


def run_bench(
    ctx: typer.Context,
    workload: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"{listed(WORKLOADS)}, or all, or widths such as 784,50,10; several with commas, "
            "widths then as 784-50-10.",
        ),
    ] = "mnist",
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="One net by its widths, such as 784,50,10 or 20,16x300,2, instead of --workload.",
        ),
    ] = None,
    batch_sizes: Annotated[
        str | None,
        typer.Option(metavar="N,...", help="[dim]\\[default: the workload's own][/dim]"),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="cpu, cuda, or both. [dim]\\[default: cpu; with --advise all there are][/dim]",
        ),
    ] = None,
    dtype: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help=f"{listed(ARITHMETIC)}. The last two: products of float32 arrays round their "
            "factors, on CUDA.",
        ),
    ] = "float32",
    peers: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help=f"Libraries to compare with: {ALL_PEERS}, or all. Slow to start.",
        ),
    ] = "",
    phase: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="train, forward, backward (forward, loss and gradients), update, predict, call "
            "(fit or partial_fit for each batch), start (a new model and its first batch), "
            "checkpoint (fit with a checkpoint in each epoch, beside fit without).",
        ),
    ] = "train",
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...", help=f"{listed(Engine.table)}. [dim]\\[default: all][/dim]"
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processors to pin each to. [dim]\\[default: all that may be used][/dim]"
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, help="Budget of a cell (workload x batch size ...).")
    ] = 12.0,
    precision: Annotated[
        str, typer.Option(metavar="SHARE", help="Stop when half of each interval is within this.")
    ] = "2%",
    seed: Annotated[int, typer.Option(min=0, help="Of data, weights and turns.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", metavar="", help="Seconds instead of minutes; rough.")
    ] = False,
    accept_noise: Annotated[
        bool,
        typer.Option(
            "--accept-noise", metavar="", help="Keep rounds that other processes disturbed."
        ),
    ] = False,
    accuracy_seconds: Annotated[
        float,
        typer.Option(
            min=0, help="Budget of each batch size for the time to accuracy on MNIST; 0: none."
        ),
    ] = 0.0,
    advise: Annotated[
        bool,
        typer.Option("--advise", metavar="", help="Say in one line what to use for this net."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write bench.json, .csv, .md, .html and .svg there.",
            parser=folder,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Compare the speed of training across batch sizes, devices, engines and other libraries.

    Every contender is checked against a float64 reference before it is timed, runs in its own
    process, and takes turns with the others in random order. The report says what was rejected and
    why.
    """
    if ctx.invoked_subcommand is not None:
        return
    from mlpx.cli.bench.run import measure

    options = BenchOptions(
        workload=workload, layers=layers, batch_sizes=batch_sizes, device=device, dtype=dtype,
        peers=peers, phase=phase, engine=engine, threads=threads, seconds=seconds,
        precision=precision, seed=seed, quick=quick, accept_noise=accept_noise,
        accuracy_seconds=accuracy_seconds, advise=advise, out=out,
    )  # fmt: skip
    if measure(options):
        raise typer.Exit(1)


def compare_documents(
    a: Annotated[Path, typer.Argument(metavar="A.json", help="Before.")],
    b: Annotated[Path, typer.Argument(metavar="B.json", help="After.")],
    fail_slower: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Exit with 1 if one of ours became slower by more than this, such as 5%, and the "
            "intervals leave no doubt.",
        ),
    ] = None,
) -> None:
    """Compare two bench.json; the intervals decide what is slower, faster, the same or unclear."""
    from mlpx.cli.bench.compare import show_changes

    if show_changes(a, b, fail_slower):
        raise typer.Exit(1)


bench.callback(help=described(run_bench))(run_bench)
bench.command("compare", cls=Command, help=described(compare_documents))(compare_documents)
