"""Special functions that NumPy lacks, on any backend, to full precision over the whole range.

The coefficients interpolate at Chebyshev points, solved with 50 digits: TAIL is (t + 4) exp(t**2 /
2) Phi(-t) as a polynomial in (t - 4) / (t + 4) for 0 <= t <= 41, after Shepherd and Laframboise
("Chebyshev approximation of (1 + 2x) exp(x**2) erfc(x)", 1981); ERF is erf(x) / x in x**2
up to x = 1/2.
"""

from __future__ import annotations

from math import sqrt

from mlpx.types import Array, Namespace

TAIL = {
    "float32": (
        0.7552851209, -0.6078964755, 0.3871378241, -0.1865255879, 0.06039365974, -0.007516952806,
        -0.003472982741, 0.001571077069, 0.0001274373171, -0.0001610325579,
    ),
    "float64": (
        0.755285130415751477, -0.607896641971891772, 0.38713740074221978, -0.186521857959692406,
        0.0603965748906546337, -0.00754018896566280169, -0.00347969236138521532,
        0.00163081844313880114, 0.000133344245785689737, -0.000231094830369748828,
        -1.90782187494628976e-6, 0.0000351442498028411893, 7.14862378478713092e-7,
        -5.91913383971112216e-6, -6.24864191247627473e-7, 1.02033203586697315e-6,
        2.634238358871633e-7, -1.54961368233175197e-7, -7.63265759790775436e-8,
        1.50907066076919037e-8, 1.4030296306013629e-8, -8.68698055426853634e-11,
        -1.03090524368787532e-9,
    ),
}  # fmt: skip
ERF = {
    "float32": (1.12837916710, -0.3761260901, 0.1128283143, -0.02675773274, 0.004719082567),
    "float64": (
        1.12837916709551257, -0.376126389031837505, 0.112837916709548691, -0.0268661706449997198,
        0.00522397762201693636, -0.00085483265107247964, 0.000120552862020057133,
        -0.0000149230033681520988, 1.63712344257700007e-6, -1.46209134094517487e-7,
    ),
}  # fmt: skip
CENTRE = 4.0
FAR = 40.0
"""Where exp(-x**2 / 2) is 0 in either dtype."""


def polynomial(xp: Namespace, x: Array, coefficients: tuple[float, ...], *, out: Array) -> None:
    """out = c0 + c1 x + c2 x**2 + ..., by Horner's rule."""
    xp.multiply(x, coefficients[-1], out=out)
    for c in coefficients[-2:0:-1]:
        out += c
        out *= x
    out += coefficients[0]


def logistic(xp: Namespace, z: Array, u: Array, *, out: Array) -> None:
    """out = 1 / (1 + exp(-u)), u >= 0 given the sign of z; u is overwritten, out may be z."""
    xp.negative(u, out=u)
    xp.exp(u, out=u)  # exp(-|u|) cannot overflow, and keeps the tails exact
    xp.greater_equal(z, 0, out=out)
    xp.maximum(out, u, out=out)  # 1 on the right, exp(-|u|) on the left
    u += 1
    out /= u


def gauss(xp: Namespace, t: Array, *, square: float, out: Array, work: tuple[Array, Array]) -> None:
    """out = exp(-square t**2) for 0 <= t <= 40, square 1/2 or 1.

    Rounding t**2 once would cost t**2 units in the last place, so t is split into a part whose
    square is exact and a small rest. Source: Cody, "Rational Chebyshev approximations for the error
    function", 1969.
    """
    head, rest = work
    xp.multiply(t, 256, out=head)
    xp.rint(head, out=head)
    head /= 256
    xp.add(t, head, out=out)
    xp.subtract(t, head, out=rest)
    rest *= out
    rest *= -square  # t**2 = head**2 + (t - head)(t + head)
    xp.exp(rest, out=out)
    head *= head
    head *= -square
    xp.exp(head, out=head)
    out *= head


def scaled_tail(xp: Namespace, t: Array, *, out: Array, work: tuple[Array]) -> None:
    """out = exp(t**2 / 2) Phi(-t) for 0 <= t <= 41, Phi the normal distribution function."""
    (q,) = work
    xp.add(t, CENTRE, out=out)
    xp.subtract(t, CENTRE, out=q)
    q /= out
    polynomial(xp, q, TAIL[t.dtype.name], out=out)
    xp.add(t, CENTRE, out=q)
    out /= q


def erfc(xp: Namespace, x: Array, *, out: Array, work: tuple[Array, Array, Array]) -> None:
    """out = 1 - erf(x) = 2 / sqrt(pi) times the integral of exp(-s**2) from x to infinity; out is
    not x.

    Keeps relative precision down to the smallest numbers: erfc(10) is 2.09e-45. NaN gives NaN.
    """
    upper_tail(xp, x, out=out, work=work)
    left = work[0]
    xp.less(x, 0, out=left)
    left *= 2
    out -= left
    xp.abs(out, out=out)  # 2 - erfc(|x|) on the left


def erf(xp: Namespace, x: Array, *, out: Array, work: tuple[Array, Array, Array]) -> None:
    """out = 2 / sqrt(pi) times the integral of exp(-s**2) from 0 to x; out is not x."""
    small, square, side = work
    upper_tail(xp, x, out=out, work=work)
    xp.subtract(1, out, out=out)  # accurate only beyond 1/2
    xp.copysign(out, x, out=out)
    x.clip(-0.5, 0.5, out=side)
    xp.multiply(side, side, out=square)
    polynomial(xp, square, ERF[x.dtype.name], out=small)
    small *= side
    xp.abs(x, out=square)
    xp.less(square, 0.5, out=side)
    small *= side
    xp.greater_equal(square, 0.5, out=side)
    out *= side
    out += small


def upper_tail(xp: Namespace, x: Array, *, out: Array, work: tuple[Array, Array, Array]) -> None:
    """out = erfc(|x|)."""
    t, tail, spare = work
    xp.abs(x, out=t)
    t.clip(0, FAR / sqrt(2), out=t)
    gauss(xp, t, square=1.0, out=out, work=(tail, spare))
    t *= sqrt(2)
    scaled_tail(xp, t, out=tail, work=(spare,))
    out *= tail
    out *= 2
