/* Layers beside the affine ones: random masks and noise, ways around, normalisations. */
#include "sums.cuh"

namespace mlpx {

/* n: rows, d. p: a, b, out. out = a + b; out may be either. */
KERNEL(sum) {
    EACH(i, op.n[0] * op.n[1]) array<Real>(op, 2)[i] = array<const Real>(op, 0)[i] + array<const Real>(op, 1)[i];
}

/* n: rows, d. p: a, b, out. out = a b; out may be either. */
KERNEL(product) {
    EACH(i, op.n[0] * op.n[1]) array<Real>(op, 2)[i] = array<const Real>(op, 0)[i] * array<const Real>(op, 1)[i];
}

/* n: rows, d. c: floor, offset. p: x, m, out. out = (x - floor) m + offset. */
KERNEL(alpha_dropout) {
    const Real floor = Real(op.c[0]), offset = Real(op.c[1]);
    EACH(i, op.n[0] * op.n[1])
        array<Real>(op, 2)[i] = (array<const Real>(op, 0)[i] - floor) * array<const Real>(op, 1)[i] + offset;
}

/* Philox4x64-10 of a block, at this step: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 * n[2], n[3] and n[4] are the seed, the purpose and the item of the stream. */
struct Philox {
    unsigned long long words[4];
    __device__ __forceinline__ Philox(const Operation &op, const long long *state, unsigned long long block) {
        unsigned long long a = block, b = state[1], c = 0, d = op.n[4], key = op.n[2], other = op.n[3];
        for (int i = 0; i < 10; i++) {
            const unsigned long long first = a * 0xD2E7470EE14C6C93u, second = c * 0xCA5A826395121157u;
            const unsigned long long high = __umul64hi(a, 0xD2E7470EE14C6C93u);
            a = __umul64hi(c, 0xCA5A826395121157u) ^ b ^ key;
            b = second;
            c = high ^ d ^ other;
            d = first;
            key += 0x9E3779B97F4A7C15u;
            other += 0xBB67AE8584CAA73Bu;
        }
        words[0] = a, words[1] = b, words[2] = c, words[3] = d;
    }
};

/* Eight elements are drawn at a time, two from each word. */
#define DRAWN 8

/* Philox's 32 bits of each element, of this step: out is 0 where they are below the threshold, else scale. */
template <class Real>
FN void draw_mask(const Operation &op, const long long *state, unsigned long long threshold, Real scale, Real *out) {
    const long long count = op.n[0] * op.n[1];
    EACH(block, (count + DRAWN - 1) / DRAWN) {
        const Philox drawn(op, state, block);
        for (int e = 0; e < DRAWN && block * DRAWN + e < count; e++) {
            const unsigned bits = (unsigned)(drawn.words[e / 2] >> 32 * (e % 2));
            out[block * DRAWN + e] = bits < threshold ? Real(0) : scale;
        }
    }
}

/* n: rows, d, seed, purpose, item, threshold. c: scale. p: out. As draw_mask has it. */
KERNEL(mask) { draw_mask(op, state, (unsigned long long)op.n[5], Real(op.c[0]), array<Real>(op, 0)); }

/* n: rows, d, seed, purpose, item, table columns. p: table row: threshold, scale; out. As draw_mask has it. */
KERNEL(mask_by) {
    const Real *numbers = array<const Real>(op, 0) + state[0] * op.n[5];
    draw_mask(op, state, (unsigned long long)numbers[0], numbers[1], array<Real>(op, 1));
}

/* n: rows, d, seed, purpose, item. c: std. p: out. N(0, std**2), two elements from each word of Philox. */
KERNEL(normals) {
    const long long count = op.n[0] * op.n[1];
    const Real spread = Real(-2.0 * op.c[0] * op.c[0]);
    EACH(block, (count + DRAWN - 1) / DRAWN) {
        const Philox drawn(op, state, block);
        for (int e = 0; e < DRAWN && block * DRAWN + e < count; e++) {
            const unsigned long long word = drawn.words[e / 2];
            const Real uniform = Real((double)(unsigned)word + 1.0) * Real(2.3283064365386962890625e-10);
            const Real angle = Real((double)(word >> 32) * (6.283185307179586 * 2.3283064365386962890625e-10));
            const Real radius = sqrt(log(uniform) * spread);
            array<Real>(op, 0)[block * DRAWN + e] = (e % 2 ? sin(angle) : cos(angle)) * radius;
        }
    }
}

/* The sum of a b over a row, in every lane. */
template <class Real> FN Real row_dot(const Real *a, const Real *b, long long d, int lane) {
    Real sum = 0;
    EACH_COLUMN(j, d) sum += a[j] * b[j];
    return warp_sum(sum);
}

template <class Real> FN Real row_mean(const Real *a, long long d, int lane) {
    Real sum = 0;
    EACH_COLUMN(j, d) sum += a[j];
    return warp_sum(sum) / Real(d);
}

/* n: rows, d. c: epsilon. p: x, xhat, scale (rows). Each row less its mean, over the root of its variance. */
KERNEL(standardise_rows) {
    const long long d = op.n[1];
    EACH_ROW(i, op.n[0]) {
        const Real *x = array<const Real>(op, 0) + i * d;
        Real *xhat = array<Real>(op, 1) + i * d;
        const Real mean = row_mean(x, d, lane);
        EACH_COLUMN(j, d) xhat[j] = x[j] - mean;
        const Real rest = row_mean(xhat, d, lane); /* what rounding left of the mean */
        EACH_COLUMN(j, d) xhat[j] -= rest;
        const Real scale = 1 / sqrt(row_dot(xhat, xhat, d, lane) / Real(d) + Real(op.c[0]));
        EACH_COLUMN(j, d) xhat[j] *= scale;
        if (lane == 0) array<Real>(op, 2)[i] = scale;
    }
}

/* n: rows, d. c: epsilon. p: x, xhat, scale (rows). Each row over the root of its mean square. */
KERNEL(unit_rows) {
    const long long d = op.n[1];
    EACH_ROW(i, op.n[0]) {
        const Real *x = array<const Real>(op, 0) + i * d;
        const Real scale = 1 / sqrt(row_dot(x, x, d, lane) / Real(d) + Real(op.c[0]));
        EACH_COLUMN(j, d) array<Real>(op, 1)[i * d + j] = x[j] * scale;
        if (lane == 0) array<Real>(op, 2)[i] = scale;
    }
}

/* n: rows, d, centred. p: dxhat, xhat, scale (rows), out, which may be dxhat.
 * out = scale (dxhat - mean(dxhat) - xhat mean(dxhat xhat)), without the first mean if not centred. */
KERNEL(standardise_rows_back) {
    const long long d = op.n[1];
    EACH_ROW(i, op.n[0]) {
        const Real *dy = array<const Real>(op, 0) + i * d, *xhat = array<const Real>(op, 1) + i * d;
        const Real scale = array<const Real>(op, 2)[i], slope = row_dot(dy, xhat, d, lane) / Real(d);
        const Real mean = op.n[2] ? row_mean(dy, d, lane) : Real(0);
        EACH_COLUMN(j, d) array<Real>(op, 3)[i * d + j] = (dy[j] - (xhat[j] * slope + mean)) * scale;
    }
}

/* Each row of a block's columns that is a thread's. */
#define EACH_LANE(i, n) for (long long i = at.inside ? at.lane : (n); i < (n); i += LANES)

/* The mean of f(element) over the rows of a thread's column. */
template <class Real, class F> FN Real column_mean(const Columns &at, long long n, long long d, F f) {
    Real sum = 0;
    EACH_LANE(i, n) sum += f(i * d + at.column);
    return lanes_sum(sum) / Real(n);
}

/* n: rows, d. c: epsilon. p: x, xhat, mu, variance, scale (d). Each column less its mean, over the root of its variance.
 * A block takes whole columns. */
KERNEL(standardise_columns) {
    const long long n = op.n[0], d = op.n[1];
    const Columns at(d);
    const Real *x = array<const Real>(op, 0);
    Real *xhat = array<Real>(op, 1);
    const Real mean = column_mean<Real>(at, n, d, [=](long long e) { return x[e]; });
    EACH_LANE(i, n) xhat[i * d + at.column] = x[i * d + at.column] - mean;
    const Real rest = column_mean<Real>(at, n, d, [=](long long e) { return xhat[e]; }); /* what rounding left of it */
    EACH_LANE(i, n) xhat[i * d + at.column] -= rest;
    const Real variance = column_mean<Real>(at, n, d, [=](long long e) { return xhat[e] * xhat[e]; });
    const Real scale = 1 / sqrt(variance + Real(op.c[0]));
    EACH_LANE(i, n) xhat[i * d + at.column] *= scale;
    if (at.inside && at.lane == 0) {
        array<Real>(op, 2)[at.column] = mean + rest;
        array<Real>(op, 3)[at.column] = variance;
        array<Real>(op, 4)[at.column] = scale;
    }
}

/* n: rows, d, centred. p: dxhat, xhat, scale (d), out, which may be dxhat. As standardise_rows_back, by column. */
KERNEL(standardise_columns_back) {
    const long long n = op.n[0], d = op.n[1];
    const Columns at(d);
    const Real *dy = array<const Real>(op, 0), *xhat = array<const Real>(op, 1);
    Real *out = array<Real>(op, 3);
    const Real slope = column_mean<Real>(at, n, d, [=](long long e) { return dy[e] * xhat[e]; });
    const Real all = column_mean<Real>(at, n, d, [=](long long e) { return dy[e]; });
    const Real mean = op.n[2] ? all : Real(0), scale = at.inside ? array<const Real>(op, 2)[at.column] : Real(0);
    EACH_LANE(i, n) {
        const long long e = i * d + at.column;
        out[e] = (dy[e] - (xhat[e] * slope + mean)) * scale;
    }
}

/* n: rows, d. p: xhat, gamma, beta or NULL, out, which may be xhat. out = xhat gamma + beta. */
KERNEL(scale_shift) {
    const long long d = op.n[1];
    const Real *gamma = array<const Real>(op, 1), *beta = array<const Real>(op, 2);
    EACH(e, op.n[0] * d) {
        const long long j = column_of(e, d);
        array<Real>(op, 3)[e] = array<const Real>(op, 0)[e] * gamma[j] + (beta ? beta[j] : Real(0));
    }
}

/* n: rows, d. p: dy, xhat, dgamma, dbeta or NULL. dgamma = column sums of dy xhat, dbeta of dy. */
KERNEL(scale_shift_sums) {
    const Real *dy = array<const Real>(op, 0), *xhat = array<const Real>(op, 1);
    const long long d = op.n[1];
    sum_columns<2, Real>(
        op, op.n[0], d,
        [=](long long i, long long j, Real *sums) {
            sums[0] += dy[i * d + j] * xhat[i * d + j];
            sums[1] += dy[i * d + j];
        },
        [=](long long j, const Real *sums) {
            array<Real>(op, 2)[j] = sums[0];
            if (op.p[3]) array<Real>(op, 3)[j] = sums[1];
        });
}

/* n: d. c: momentum, factor. p: value, running. running += momentum (factor value - running). */
KERNEL(track) {
    const Real momentum = Real(op.c[0]), factor = Real(op.c[1]);
    Real *running = array<Real>(op, 1);
    EACH(j, op.n[0]) running[j] += (array<const Real>(op, 0)[j] * factor - running[j]) * momentum;
}

/* n: rows, d. c: epsilon. p: x, mu, variance, gamma, beta, out. out = (x - mu) gamma / sqrt(variance + epsilon) + beta. */
KERNEL(apply_running) {
    const long long d = op.n[1];
    const Real epsilon = Real(op.c[0]);
    EACH(e, op.n[0] * d) {
        const long long j = column_of(e, d);
        const Real scale = 1 / sqrt(array<const Real>(op, 2)[j] + epsilon) * array<const Real>(op, 3)[j];
        array<Real>(op, 5)[e] =
            (array<const Real>(op, 0)[e] - array<const Real>(op, 1)[j]) * scale + array<const Real>(op, 4)[j];
    }
}

} // namespace mlpx
