/* Batches: rounded and weighed, and what is kept of each step. */
#include "sums.cuh"

namespace mlpx {

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
#pragma unroll /* or the operation would be copied to memory, to look up its arrays there */
            for (int k = 0; k < 4; k++)
                if (k < op.n[1]) *array<float>(op, 3 + 2 * k) = 1 / (scale * *array<const float>(op, 2 + 2 * k));
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

/* n: steps, rows of the table. p: state, table (rows, 2). So many steps further, in the tables and in all; table[i] = where
 * that is, and i steps further. By one block. */
KERNEL(advance) {
    long long *at = array<long long>(op, 0), *table = array<long long>(op, 1);
    if (threadIdx.x < 2) at[threadIdx.x] += op.n[0];
    __syncthreads();
    EACH(i, 2 * op.n[1]) table[i] = at[i % 2] + i / 2;
}

} // namespace mlpx
