#!/usr/bin/env bash
# Checks mlpx on a machine with a GPU, in two parts of at most 240 and 290 seconds: `first` compiles and runs every
# kernel and product, compares CPU and GPU step by step, and times our steps beside PyTorch and JAX; `second` runs the
# tests of devices, larger nets, an epoch, a long run, a sanitizer, and CPU beside GPU.
#
#   bench/gpu_check.sh [--part first|second] [--section NAME ...] [--out bench/results] [--cache FILE]
#   bench/gpu_check.sh --rehearse [--part ...]        the same on the tests' double of a GPU, into runs/gpu-rehearsal
#   bench/gpu_check.sh --merge FILE ... [--out DIR]   one document of the lines, or documents, of several runs
#   bench/gpu_check.sh --readme                       the README's GPU table, from the newest document
#
# Each section is a process with a limit of its own; what it finds is on disk as it is found, and the last lines are a
# table of verdicts. Needs CuPy; no network; what is trained on is made here. What CuPy compiled lies in --out as
# kernel-cache.tar.gz: give it to the next run as --cache. Without git, MLPX_COMMIT says what is checked.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
PYTHONPATH="$root/src:$root/bench${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python3}" -m gpu.check "$@"
