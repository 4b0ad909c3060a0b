/* Batches: the rows of a step, as numbers of the kernel's type. */
#include "operation.cuh"

namespace mlpx {

/* What 16 bits mean as an IEEE half. */
FN float half_value(unsigned short bits) {
    const int sign = (bits & 0x8000) << 16, exponent = bits >> 10 & 31, mantissa = bits & 0x3ff;
    if (exponent == 0) return __int_as_float(__float_as_int(float(mantissa) * 5.9604644775390625e-08f) | sign);
    return __int_as_float(sign | (exponent == 31 ? 0x7f800000 : (exponent + 112) << 23) | mantissa << 13);
}

/* Which row of x the batch's row i is: rows of the table, or x's own order. */
FN long long source_row(const Operation &op, const long long *state, long long i) {
    const long long next = state[0] + op.n[5], last = op.n[6] - 1;
    const long long first = op.n[3] * (op.n[6] && next > last ? last : next);
    return op.p[1] ? array<const long long>(op, 1)[first + i] : first + i;
}

template <class T, class Real, class Value>
FN void gather_as(const Operation &op, const long long *state, Value value) {
    const long long d = op.n[1];
    const T *x = array<const T>(op, 0);
    Real *out = array<Real>(op, 2);
    EACH(e, op.n[0] * d) {
        out[e] = Real(value(x[source_row(op, state, row_of(e, d)) * d + column_of(e, d)]));
    }
}

template <class T, class Real> FN void gather_numbers(const Operation &op, const long long *state) {
    gather_as<T, Real>(op, state, [](T x) { return x; });
}

/* n: rows, columns, dtype, rows a step (0: the rows given are the step's), 0 for CuPy has bytes in one order only; for the
 * rows of a later step how many steps ahead, and how many there are; whether they are scaled. c: scale, offset. p: x, rows
 * or NULL for x in its own order, out; labels and where those of the rows go, or NULL. */
KERNEL(gather) {
    switch (op.n[2]) {
    case 0: gather_numbers<float, Real>(op, state); break;
    case 1: gather_numbers<double, Real>(op, state); break;
    case 2: gather_numbers<unsigned char, Real>(op, state); break;
    case 3: gather_numbers<signed char, Real>(op, state); break;
    case 4: gather_numbers<unsigned short, Real>(op, state); break;
    case 5: gather_numbers<short, Real>(op, state); break;
    case 6: gather_numbers<unsigned, Real>(op, state); break;
    case 7: gather_numbers<int, Real>(op, state); break;
    case 8: gather_numbers<unsigned long long, Real>(op, state); break;
    case 9: gather_numbers<long long, Real>(op, state); break;
    case 10: gather_numbers<long long, long long>(op, state); break; /* labels stay what they are */
    case 11: gather_as<unsigned short, Real>(op, state, half_value); break;
    }
    if (op.n[7]) { /* each thread scales what it wrote */
        const Real a = Real(op.c[0]), b = Real(op.c[1]);
        EACH(e, op.n[0] * op.n[1]) array<Real>(op, 2)[e] = array<Real>(op, 2)[e] * a + b;
    }
    if (op.p[3])
        EACH(i, op.n[0]) array<long long>(op, 4)[i] = array<const long long>(op, 3)[source_row(op, state, i)];
}

} // namespace mlpx
