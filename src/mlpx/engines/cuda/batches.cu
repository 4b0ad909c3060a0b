/* Batches: gathered, weighed, and what is kept of each step. */
#include "sums.cuh"

namespace mlpx {

/* What 16 bits mean as an IEEE half. */
FN float half_value(unsigned short bits) {
    const int sign = (bits & 0x8000) << 16, exponent = bits >> 10 & 31, mantissa = bits & 0x3ff;
    if (exponent == 0) return __int_as_float(__float_as_int(float(mantissa) * 5.9604644775390625e-08f) | sign);
    return __int_as_float(sign | (exponent == 31 ? 0x7f800000 : (exponent + 112) << 23) | mantissa << 13);
}

/* x as the bits of an IEEE half, to the nearest, ties to even. */
FN unsigned short half_bits(float x) {
    const unsigned bits = unsigned(__float_as_int(x)), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) return (unsigned short)(sign | 0x7e00); /* NaN */
    if (size >= 0x477ff000) return (unsigned short)(sign | 0x7c00); /* nearer to infinity than to the largest */
    if (size >= 0x38800000) return (unsigned short)(sign | (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13);
    /* Below the smallest normal half: the last bit of a sum with 1/2 is worth what that of such a half is, and the 16
     * last bits of 1/2 are 0. */
    return (unsigned short)(sign | unsigned(__float_as_int(__int_as_float(int(size)) + 0.5f)));
}

/* Which row of x the batch's row i is: rows of the table, or x's own order. */
FN long long source_row(const Operation &op, const long long *state, long long i) {
    const long long next = state[0] + op.n[5], last = op.n[6] - 1;
    const long long first = op.n[3] * (op.n[5] && next > last ? last : next);
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

/* n: rows, columns, dtype, rows a step (0: the rows given are the step's), 0 for CuPy has bytes in one order only, and,
 * for the rows of a later step: how many steps ahead, how many there are. p: x, rows or NULL for x in its own order, out.
 */
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
}

/* n: rows, columns. p: x, out. out = x. */
KERNEL(copy) {
    EACH(i, op.n[0] * op.n[1]) array<Real>(op, 1)[i] = array<const Real>(op, 0)[i];
}

/* n: rows, columns. c: scale, offset. p: x, out, which may be x. */
KERNEL(scale) {
    const Real a = Real(op.c[0]), b = Real(op.c[1]);
    EACH(i, op.n[0] * op.n[1]) array<Real>(op, 1)[i] = array<const Real>(op, 0)[i] * a + b;
}

/* n: rows, columns, stride. p: x, out. out = x as bfloat16, to the nearest, ties to even; its rows are `stride` apart,
 * and what is between them stays as it is. Infinities stay; NaN stays NaN, if quiet. */
KERNEL(to_bf16) {
    const long long d = op.n[1];
    EACH(e, op.n[0] * d) {
        const float x = float(array<const Real>(op, 0)[e]);
        const unsigned bits = unsigned(__float_as_int(x));
        const unsigned rounded = x != x ? bits >> 16 | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        array<unsigned short>(op, 1)[row_of(e, d) * op.n[2] + column_of(e, d)] = (unsigned short)rounded;
    }
}

/* n: elements, others. p: x, scale, and of each other: its scale, back. scale = the power of two, from 2**-60 to 2**60,
 * that brings the largest finite |x| to 2**14 and above, below 2**15; back = 1 / (scale other). */
KERNEL(scale_of) {
    max_all<float>(
        op, op.n[0],
        [=](long long i) {
            const float size = abs_(float(array<const Real>(op, 0)[i]));
            return size <= Limits<float>::largest ? size : 0.0f;
        },
        [=](float most) {
            const int exponent = most > 0 ? 14 + 127 - (__float_as_int(most) >> 23) : 0;
            const int bounded = exponent > 60 ? 60 : exponent < -60 ? -60 : exponent;
            const float scale = __int_as_float((127 + bounded) << 23);
            *array<float>(op, 1) = scale;
            for (int k = 0; k < op.n[1]; k++)
                *array<float>(op, 3 + 2 * k) = 1 / (scale * *array<const float>(op, 2 + 2 * k));
        });
}

/* n: rows, columns, stride. p: x, out, scale. out = scale x as IEEE halves; its rows are `stride` apart, and what is
 * between them stays as it is. */
KERNEL(to_fp16) {
    const long long d = op.n[1];
    const float scale = *array<const float>(op, 2);
    EACH(e, op.n[0] * d)
        array<unsigned short>(op, 1)[row_of(e, d) * op.n[2] + column_of(e, d)] =
            half_bits(scale * float(array<const Real>(op, 0)[e]));
}

/* n: rows. p: w, total, out. total = sum w, out = w / total. By one block. */
KERNEL(weigh) {
    const Real *w = array<const Real>(op, 0);
    Real *out = array<Real>(op, 2), sum = 0;
    EACH(i, op.n[0]) sum += w[i];
    const Real total = block_sum(sum) + Limits<Real>::tiny;
    if (threadIdx.x == 0) *array<Real>(op, 1) = total;
    EACH(i, op.n[0]) out[i] = w[i] / total;
}

/* n: rows. p: r, rows, out. out = sum r rows. */
KERNEL(weighted_mean) {
    const Real *r = array<const Real>(op, 0), *rows = array<const Real>(op, 1);
    sum_all<1, Real>(
        op, op.n[0], [=](long long i, Real *sums) { sums[0] += r[i] * rows[i]; },
        [=](const Real *sums) { *array<Real>(op, 2) = sums[0]; });
}

/* n: rows, columns, rows' stride. p: lines, out. out = the sum of the rows. */
KERNEL(sum_lines) {
    const Real *lines = array<const Real>(op, 0);
    sum_columns<1, Real>(
        op, op.n[0], op.n[1],
        [=](long long i, long long j, Real *sums) { sums[0] += lines[i * op.n[2] + j]; },
        [=](long long j, const Real *sums) { array<Real>(op, 1)[j] = sums[0]; });
}

/* n: columns. p: log, values. log[position] = values. */
KERNEL(record) {
    EACH(j, op.n[0]) array<Real>(op, 0)[state[0] * op.n[0] + j] = array<const Real>(op, 1)[j];
}

/* p: state. One step further: in the tables, and in all. */
KERNEL(advance) {
    if (blockIdx.x == 0 && threadIdx.x < 2) array<long long>(op, 0)[threadIdx.x] += 1;
}

} // namespace mlpx
