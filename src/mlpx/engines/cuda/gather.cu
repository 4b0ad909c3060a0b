/* Batches: the rows of a step, as numbers of the kernel's type. */
#include "operation.cuh"

namespace mlpx {

constexpr long long LABELS = 10;

/* The value of 16 bits as an IEEE half. */
FN float half_value(unsigned short bits) {
    const int sign = (bits & 0x8000) << 16, exponent = bits >> 10 & 31, mantissa = bits & 0x3ff;
    if (exponent == 0) return __int_as_float(__float_as_int(float(mantissa) * 5.9604644775390625e-08f) | sign);
    return __int_as_float(sign | (exponent == 31 ? 0x7f800000 : (exponent + 112) << 23) | mantissa << 13);
}

/* The row of x that is the batch's row i: by the table's row numbers, or in x's own order. */
FN long long source_row(const Operation &op, const long long *state, long long i) {
    const long long next = state[0] + op.n[5], lines = op.n[6];
    const long long first = op.n[3] * (lines && next >= lines ? next % lines : next);
    return op.p[1] ? array<const long long>(op, 1)[first + i] : first + i;
}

template <class T> FN T element(const Operation &op, long long i) { return array<const T>(op, 0)[i]; }

/* The i-th number of x, whatever its dtype. The choice is made inside the loop, since a loop for each dtype takes NVRTC
 * nine seconds to compile, and threads wait for memory anyway. */
template <class Real> FN Real number(const Operation &op, long long i) {
    switch (op.n[2]) {
    case 0: return Real(element<float>(op, i));
    case 1: return Real(element<double>(op, i));
    case 2: return Real(element<unsigned char>(op, i));
    case 3: return Real(element<signed char>(op, i));
    case 4: return Real(element<unsigned short>(op, i));
    case 5: return Real(element<short>(op, i));
    case 6: return Real(element<unsigned>(op, i));
    case 7: return Real(element<int>(op, i));
    case 8: return Real(element<unsigned long long>(op, i));
    case 9: return Real(element<long long>(op, i));
    default: return Real(half_value(element<unsigned short>(op, i)));
    }
}

/* n: rows, columns, dtype, rows a step (0: the rows given are the step's), 0 since CuPy has one byte order only; how many
 * steps ahead the rows are; after how many steps the row numbers begin anew, 0 for never; whether the rows are scaled.
 * c: scale, offset. p: x, row numbers or NULL for x in its own order, out; labels and where to write those of the rows, or
 * NULL. */
KERNEL(gather) {
    const long long d = op.n[1];
    const Real a = Real(op.c[0]), b = Real(op.c[1]);
    EACH(e, op.n[0] * d) {
        const long long i = source_row(op, state, row_of(e, d)) * d + column_of(e, d);
        if (op.n[2] == LABELS) {
            array<long long>(op, 2)[e] = element<long long>(op, i); /* labels stay integers */
        } else {
            const Real x = number<Real>(op, i);
            array<Real>(op, 2)[e] = op.n[7] ? x * a + b : x;
        }
    }
    if (op.p[3])
        EACH(i, op.n[0]) array<long long>(op, 4)[i] = array<const long long>(op, 3)[source_row(op, state, i)];
}

} // namespace mlpx
