"""All kernels with AddressSanitizer: `python -m cudasim.sanitized FOLDER`, libasan preloaded."""

from __future__ import annotations

import sys
from pathlib import Path

import cudasim
from cudasim.cases import CASES, FLAT, Given
from cudasim.running import run

SHAPES = [(1, 1), (33, 10), (257, 33)]
SIZES = [1, 33, 9001]


def main() -> None:
    library = cudasim.build(Path(sys.argv[1]), (cudasim.ASAN,))
    for name, makers in CASES.items():
        for make in makers:
            for shape in [(1, size) for size in SIZES] if name in FLAT else SHAPES:
                case = make(Given("float32", *shape))
                run(name, case, "float32", library=library, tight=True)
    sys.stdout.write(f"clean {len(CASES)}\n")


if __name__ == "__main__":
    main()
