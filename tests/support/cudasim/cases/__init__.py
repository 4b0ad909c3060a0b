"""What every kernel is given, and what it must make of that by plain NumPy in float64.

A file here for each .cu file.
"""

from cudasim.cases import (
    activations,
    batches,
    embedding,
    heads,
    layers,
    losses,
    parametric,
    products,
    updates,
)
from cudasim.cases.given import CASES, FLAT, POSITION, SINGLE, STEP, TABLE, Case, Given

__all__ = [
    "CASES",
    "FLAT",
    "POSITION",
    "SINGLE",
    "STEP",
    "TABLE",
    "Case",
    "Given",
    "activations",
    "batches",
    "embedding",
    "heads",
    "layers",
    "losses",
    "parametric",
    "products",
    "updates",
]
