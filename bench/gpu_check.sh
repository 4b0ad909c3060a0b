#!/usr/bin/env bash
# Checks mlpx on a machine with a GPU: the test suite on real CuPy; CPU and GPU loss curves step by step; the same bits
# twice; the time of steps and epochs, in each precision, beside PyTorch, JAX and floors from ceilings measured in the
# same run. Each part takes less than 9 minutes; their results merge into one JSON file.
#
#   bench/gpu_check.sh [--part tests|small|wide] [--device cuda] [--out bench/results] [--quick]
#
# Without --part all three are run. Needs CuPy and, for the tests, mlpx[test]; no network. What is trained on is
# made here, and tests of files that are not there are skipped.
set -eu
cd "$(dirname "$0")/.."
PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python3}" bench/gpu_check.py "$@"
