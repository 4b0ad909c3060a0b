#!/usr/bin/env bash
# Checks mlpx on a machine with a GPU, in two parts of at most 240 and 290 seconds: `first` compiles and runs every
# kernel and product, compares CPU and GPU step by step, and times our steps beside PyTorch and JAX; `second` runs the
# tests of devices, larger nets, an epoch, a long run, a sanitizer, and CPU beside GPU.
#
#   bench/gpu_check.sh [--part first|second] [--section NAME ...] [--out bench/results] [--cache FILE]
#
# Each section is a process with a limit of its own; what it finds is on disk as it is found, and the last lines are a
# table of verdicts. Needs CuPy; no network; what is trained on is made here. `--rehearse` runs it all on the tests'
# double of a GPU, `--merge FILE ...` makes one document of the lines of several runs.
set -eu
cd "$(dirname "$0")/.."
PYTHONPATH="$PWD/src:$PWD/bench${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python3}" -m gpu.check "$@"
