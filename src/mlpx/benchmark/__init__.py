"""The benchmark behind `mlpx bench`: what is timed, how, and what is made of it.

Every contender runs in a process of its own (`worker`), is checked against a float64 reference
before it is timed, and takes turns with the others in random order (`rounds`). The figures go into
one JSON document (`document`), from which every table and plot is made.
"""

from __future__ import annotations

from mlpx.benchmark.workloads import WORKLOADS, Workload, parse_workload

__all__ = ["WORKLOADS", "Workload", "parse_workload"]
