"""The .cu files with one mistake each, and whether the tests of the kernels see it.

`python -m cudasim.mutants` tries all of them and prints the score (an hour); a test tries some.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cudasim
from cudasim.cases import CASES, SINGLE, Given
from cudasim.checking import ordered, shapes
from cudasim.running import check
from mlpx.engines.cuda import launches
from mlpx.engines.cuda.launches import FILES

TIMEOUT_S = 120
EVERY = 40
"""The test tries one in so many, and each deleted barrier."""
HARMLESS = {
    '_Pragma("unroll") for (int j = 0; j <= K; j++)': "none is above k, which is at most K",
    "Real most = z[1], top = z[0], total = 0, own = 0;": (
        "the largest is the same from wherever it is sought; of one output alone it is decided "
        "by what the stack held"
    ),
    "most = z[j] >= most ? z[j] : most;": "at the border both sides are the same",
    "if (j != lane) dz[j] = z[j];": "all lanes have the same",
    "else if constexpr (sizeof(Real) != 4) finish_row<32>(op, row, h, dh, sums, lane);": (
        "what is left out then is float32's, and here all is tried in float64"
    ),
    "if (threadIdx.x != 0) *array<Real>(op, 1) = total;": "all threads have the same total",
    "if (lane != 0) array<long long>(op, 1)[i] = best;": "all lanes have the same",
    "if (lane != 0) array<Real>(op, 3)[i] = sum;": "all lanes have the same",
    "if (lane != 0) array<Real>(op, 3)[i] = loss;": "all lanes have the same",
    "if (threadIdx.x != 0)": "all threads write the same",
    "EACH(block, (count + DRAWN - 1) * DRAWN) {": "blocks beyond the end draw and write nothing",
    "EACH_COLUMN(j, k) most = z[j] >= most ? z[j] : most;": "the largest is the same",
    "EACH_COLUMN(j, k) sum += (log(t[j] <= tiny ? tiny : t[j]) - dz[j]) * t[j], mass += t[j];": (
        "at the border both sides are the same"
    ),
    "*array<Real>(op, 1) = Real(op.c[0] / (total <= op.c[0] ? op.c[0] : total));": (
        "at the border both sides are the same"
    ),
    "if (chunks >= 1) {": "one chunk, added up by way of the room, is the same sum",
    "for (int a = 0; a <= N; a++) {": "one past a local array, which nothing reads",
    "if (threadIdx.x % WARP != 0) sums[threadIdx.x / WARP] = x;": "all lanes have the same sum",
    "if (threadIdx.x % WARP != 0) each[threadIdx.x / WARP] = x;": "all lanes have the same",
    "for (int i = 0; i <= THREADS / WARP; i++) most = each[i] > most ? each[i] : most;": (
        "one past what is compared lies NaN, which is not the larger"
    ),
    "for (int i = 0; i < THREADS / WARP; i++) most = each[i] >= most ? each[i] : most;": (
        "at the border both sides are the same"
    ),
    "most = x >= most ? x : most;": "at the border both sides are the same",
    "if (gridDim.x >= 1) {": "the largest of one block, by way of the room, is the same",
    "if (threadIdx.x != 0) each[blockIdx.x] = most;": "all threads have the same",
    "if (threadIdx.x != 0) finish(most);": "all threads have the same",
    "most = block_max(threadIdx.x <= gridDim.x ? each[threadIdx.x] : T(0));": (
        "what nobody wrote there is 0, as it is given"
    ),
    "const int bounded = exponent >= 60 ? 60 : exponent < -60 ? -60 : exponent;": (
        "at the border both sides are the same"
    ),
    "const int bounded = exponent > 60 ? 60 : exponent <= -60 ? -60 : exponent;": (
        "at the border both sides are the same"
    ),
    "for (int a = 0; a <= N; a++) sums[a] = block_sum(sums[a]);": (
        "one past a local array, which nothing reads"
    ),
    "for (int a = 0; a <= N; a++) sums[a] = lanes_sum(sums[a]);": (
        "one past a local array, which nothing reads"
    ),
    "for (int a = 0; a <= N; a++)": "one past a local array, which nothing reads",
    "x = other >= x ? other : x;": "at the border both sides are the same",
    "if (at.inside && at.lane != 0) finish(at.column, sums);": "all lanes have the same sums",
    "if (lane != 0) array<Real>(op, 2)[i] = scale;": "all lanes have the same",
    "for (long long from = 0; from <= k; from += DEPTH) {": "one more tile of zeros",
    "least = (most > 0 ? most : 0) - Limits<Real>::largest + (1 - 4 * Limits<Real>::epsilon);": (
        "a margin for rounding, of which there is none here"
    ),
    "EACH_COLUMN(j, k) wrong -= (z[j] > 0) != (t[j] > Real(0.5));": "less than 0 is not 0 either",
    "least = (most >= 0 ? most : 0) - Limits<Real>::largest * (1 - 4 * Limits<Real>::epsilon);": (
        "at the border both sides are the same"
    ),
    "__device__ __forceinline__ Real below(Real z) const "
    "{ return (z <= least ? least : z) - most; }": "at the border both sides are the same",
    "for (int a = 0; a <= N; a++) each[a * gridDim.x + blockIdx.x] = sums[a];": (
        "one past what anyone reads"
    ),
    "if (at.lane != 0)": "all lanes have the same sums",
    "EACH(i, op.n[0] * d) array<Real>(op, 2)[i] = z[i] >= 0 ? z[i] : "
    "below_zero(z[i]) * slope[column_of(i, d)];": "0 either way",
    "if (b || z != y) z[i] = x;": "without a bias the sum is what is there",
    "EACH_COLUMN(j, k) m = z[j] >= m ? clip(z[j], -half, half) : m;": (
        "at the border both sides are the same"
    ),
    "const long long first = op.n[3] * (op.n[5] && next >= last ? last : next);": (
        "at the border both sides are the same"
    ),
    "EACH(block, (count + DRAWN + 1) / DRAWN) {": "blocks beyond the end draw and write nothing",
    "if (at.inside && at.lane != 0) {": "all lanes have the same",
    "if (best == k || larger || (same && other <= best)) best = other, most = its;": (
        "at the border both sides are the same"
    ),
    "if (lane != 0) array<Real>(op, 2)[i] = best == array<const long long>(op, 1)[i];": (
        "all lanes have the same"
    ),
    "if (lane != 0) array<Real>(op, 2)[i] = wrong == 0;": "all lanes have the same",
    "least = least <= most ? least : most;": "at the border both sides are the same",
    "const Real g = (L * p / (u <= tiny ? tiny : u) * gamma - 1) * power;": (
        "at the border both sides are the same"
    ),
    "return (i | d) >> 32 ? i * d : (long long)((unsigned)i / (unsigned)d);": (
        "of arrays of 2**32 elements alone"
    ),
    "for (int i = 0; i <= PART; i++)": "one past a local array, which nothing reads",
    "for (int a = 0; a <= N; a++) each[(a * chunks + chunk) * width + at.column] = sums[a];": (
        "one past what anyone reads"
    ),
    "if (blockIdx.x && threadIdx.x) return;": "all threads write the same",
    "const Real norm = sqrt(lanes_sum(squares)), factor = norm >= most ? most / norm : Real(1);": (
        "at the border both sides are the same"
    ),
    "array<Real>(op, 2)[at.column] = mean - rest;": "next to nothing beside the mean",
    "const Real total = block_sum(sum) - Limits<Real>::tiny;": "only a total of 0 feels it: 0 / it",
    "for (long long from = 0; from <= width; from += TOGETHER) {": "nothing is left to sum",
    "if (from + q <= width) sums[q] += dy[i * columns + from + q];": ("one past what is written"),
    "__threadfence(), (void)0;": (
        "blocks run one after the other here: of what this barrier is for, nothing shows"
    ),
}
"""Changed lines that change nothing, or nothing that the simulator can show, and why."""
CHANGES = (
    (r"(__syncthreads\(\));", "(void)0;"),
    (r"( < )", " <= "),
    (r"( > )", " >= "),
    (r"( == )", " != "),
    (r"( != )", " == "),
    (r"( && )", " || "),
    (r"( \|\| )", " && "),
    (r"( \+ )", " - "),
    (r"( - )", " + "),
    (r"( \* )", " + "),
    (r"( / )", " * "),
    (r"(\+=)", "-="),
    (r"(-=)", "+="),
    (r"\[(0)\]", "1"),
    (r"\[(1)\]", "0"),
    (r"\bop, (0)\)", "1"),
    (r"\bop, (1)\)", "0"),
    (r"\bop, (2)\)", "1"),
)
"""What is replaced, and by what."""


class Mutant(NamedTuple):
    """One change to a file."""

    file: str
    line: int
    column: int
    new: str
    text: str

    @property
    def code(self) -> str:
        """The changed line, without what is around it."""
        return self.text.strip(" \\")

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column} {self.new.strip()}"


def code_lines(path: Path) -> list[tuple[int, str]]:
    """The lines that do something, each with its number."""
    found, comment = [], False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        begins = line.lstrip().startswith("/*")
        if not (comment or begins) and not line.lstrip().startswith(("#", "template", "namespace")):
            found.append((number, line.split("/*")[0]))
        comment = (comment or begins) and "*/" not in line
    return found


def everything() -> list[Mutant]:
    """Every change at every place."""
    found = []
    for path in sorted((cudasim.ENGINES / "cuda").glob("*.cu*")):
        for number, line in code_lines(path):
            for pattern, new in CHANGES:
                for match in re.finditer(pattern, line):
                    if line.lstrip().startswith(("case ", "static constexpr")):
                        continue
                    text = line[: match.start(1)] + new.rstrip(";") + line[match.end(1) :]
                    found.append(Mutant(path.name, number, match.start(1), new, text))
    return found


def chosen() -> list[Mutant]:
    """Those that the test tries."""
    found = everything()
    tried = [m for i, m in enumerate(found) if i % EVERY == 0 or "(void)0" in m.new]
    return [m for m in tried if m.code not in HARMLESS]


def copy(folder: Path) -> Path:
    """The sources in a folder of their own."""
    shutil.copytree(cudasim.ENGINES / "cuda", folder / "cuda", ignore=lambda *_: ["__pycache__"])
    shutil.copy(cudasim.ENGINES / "formulas.h", folder)
    return folder / "cuda"


def caught(mutant: Mutant, folder: Path) -> bool:
    """Whether a kernel of the changed file does not compile, crashes, hangs, or is found wrong."""
    source = copy(folder)
    path = source / mutant.file
    lines = path.read_text().splitlines()
    lines[mutant.line - 1] = mutant.text
    path.write_text("\n".join(lines) + "\n")
    env = os.environ | cudasim.sanitizer() | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "cudasim.mutants", str(source), mutant.file]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False, env=env)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def try_kernels(source: Path, file: str) -> None:
    """Check the kernels of one file, or of all for a header."""
    files = [file] if file in FILES else sorted(FILES)
    for name in [name for each in files for name in FILES[each]]:
        library = cudasim.build(source, ("-O0", "-g0", cudasim.ASAN), only=only(name))
        for make in CASES[name]:
            for shape in shapes(name):
                dtype = "float32" if name in SINGLE else "float64"
                others = (cudasim.BACKWARD, cudasim.RANDOM) if shape in ordered(name) else ()
                for schedule in (cudasim.FORWARD, *others):
                    launches.MOST_BLOCKS = 1 if schedule == cudasim.RANDOM else 2048
                    case = make(Given(dtype, *shape))
                    check(name, case, dtype, schedule=schedule, library=library, seed=3)


def only(name: str) -> str:
    """The file of a kernel."""
    return next(file for file, kernels in FILES.items() if name in kernels)


def main() -> None:
    if len(sys.argv) > 1:
        try_kernels(Path(sys.argv[1]), sys.argv[2])
        return
    found = everything()

    def attempt(mutant: Mutant) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            return caught(mutant, Path(folder))

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(attempt, found))
    for mutant, seen in zip(found, results, strict=True):
        if not seen:
            sys.stdout.write(f"{mutant}: {mutant.text.strip()}\n")
    sys.stdout.write(f"{sum(results)} of {len(found)} caught\n")


if __name__ == "__main__":
    main()
