"""Activations: one record each, forward beside backward.

`forward` writes y = f(z); `backward` writes dz = dy f'(z), computed from what the record `keeps`:
its `"input"` z or its `"output"` y. All arrays have one shape. `out` may be z itself in `forward`
when the output is kept, and may be dy itself in `backward`; otherwise it is a separate array.
`work` holds `scratch` arrays of that shape, then `columns` arrays of one column.

No finite input overflows or becomes NaN on the way (SELU's scale correctly takes the largest few
per cent of all numbers to infinity), and infinite inputs give the limits. A NaN comes out of
`forward` as NaN, and out of `backward` if it is in dy; a NaN that was kept has already made the
loss NaN. docs/numerics.md says how exact each kernel is.

The last line of each docstring names the other files that know this activation, below `mlpx/`: its
row in `engines/formulas.h`, and every file that treats it differently from the others. Besides,
each has forms in `export/onnx/activations.py` and `export/plain/layers.py`.
"""

from mlpx.kernels.activations.base import Activation, Work
from mlpx.kernels.activations.bounded import HardSigmoid, Identity, Sigmoid, Softsign, Tanh
from mlpx.kernels.activations.exponential import CELU, ELU, SELU, Softplus
from mlpx.kernels.activations.gated import GELU, GELUTanh, Mish, SiLU
from mlpx.kernels.activations.rectifiers import LeakyReLU, PReLU, ReLU, ReLU6
from mlpx.kernels.activations.softmax import Softmax

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "GELUTanh",
    "HardSigmoid",
    "Identity",
    "LeakyReLU",
    "Mish",
    "PReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
    "Work",
]
