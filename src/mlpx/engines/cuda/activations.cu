/* Activations with the bias before them, and their derivatives. */
#include "sums.cuh"

namespace mlpx {

/* n: rows, d, formula, bias. c: fields. p: z, y, b. y = f(z + b), and z holds the sum; y may be z. */
KERNEL(activation) {
    const Constants<Real> fields(op);
    const long long d = op.n[1], count = op.n[0] * d;
    Real *z = array<Real>(op, 0), *y = array<Real>(op, 1);
    const Real *b = op.n[3] ? array<const Real>(op, 2) : nullptr;
    switch (op.n[2]) {
#define ACTIVATION(name, f, df)                                          \
    case ACTIVATION_##name:                                              \
        EACH(i, count) {                                                 \
            const Real x = b ? z[i] + b[column_of(i, d)] : z[i];         \
            if (b && z != y) z[i] = x;                                   \
            y[i] = name##_f(x, fields.c);                                \
        }                                                                \
        break;
        MLPX_ACTIVATIONS(ACTIVATION)
#undef ACTIVATION
    }
}

/* n: rows, d, formula. c: fields. p: dy, kept, out. out = dy f'(kept); out may be dy. */
KERNEL(activation_back) {
    const Constants<Real> fields(op);
    const long long count = op.n[0] * op.n[1];
    const Real *dy = array<const Real>(op, 0), *kept = array<const Real>(op, 1);
    Real *out = array<Real>(op, 2);
    switch (op.n[2]) {
#define ACTIVATION(name, f, df)                                                     \
    case ACTIVATION_##name:                                                         \
        EACH(i, count) out[i] = dy[i] * name##_df(kept[i], fields.c);               \
        break;
        MLPX_ACTIVATIONS(ACTIVATION)
#undef ACTIVATION
    }
}

/* min(z, 0), finite. */
template <class Real> FN Real below_zero(Real z) { return clip(z, -Limits<Real>::largest, Real(0)); }

/* n: rows, d. p: z, slope (d), y. y = z where z > 0, else slope z. */
KERNEL(prelu) {
    const long long d = op.n[1];
    const Real *z = array<const Real>(op, 0), *slope = array<const Real>(op, 1);
    EACH(i, op.n[0] * d) array<Real>(op, 2)[i] = z[i] > 0 ? z[i] : below_zero(z[i]) * slope[column_of(i, d)];
}

/* n: rows, d. p: dy, z, slope (d), out, which may be dy. out = dy where z > 0, else slope dy. */
KERNEL(prelu_back) {
    const long long d = op.n[1];
    const Real *dy = array<const Real>(op, 0), *z = array<const Real>(op, 1), *slope = array<const Real>(op, 2);
    EACH(i, op.n[0] * d)
        array<Real>(op, 3)[i] = dy[i] * (z[i] > 0 ? Real(1) : z[i] <= 0 ? slope[column_of(i, d)] : Real(0));
}

/* n: rows, d. p: dy, z, dslope (d). dslope = column sums of dy min(z, 0). */
KERNEL(prelu_slope) {
    const Real *dy = array<const Real>(op, 0), *z = array<const Real>(op, 1);
    const long long d = op.n[1];
    sum_columns<1, Real>(
        op, op.n[0], d,
        [=](long long i, long long j, Real *sums) { sums[0] += dy[i * d + j] * below_zero(z[i * d + j]); },
        [=](long long j, const Real *sums) { array<Real>(op, 2)[j] = sums[0]; });
}

/* n: rows, k. p: z, y. y = softmax of each row. */
KERNEL(softmax) {
    const long long k = op.n[1];
    const Real half = Limits<Real>::largest / 2;
    EACH_ROW(i, op.n[0]) {
        const Real *z = array<const Real>(op, 0) + i * k;
        Real *y = array<Real>(op, 1) + i * k, m = clip(z[0], -half, half), total = 0;
        EACH_COLUMN(j, k) m = z[j] > m ? clip(z[j], -half, half) : m;
        m = warp_max(m);
        EACH_COLUMN(j, k) total += y[j] = exp_(clip(z[j], -half, half) - m);
        total = warp_sum(total);
        EACH_COLUMN(j, k) y[j] /= total;
    }
}

/* n: rows, k. p: dy, y, out, which may be dy. out = y (dy - sum dy y). */
KERNEL(softmax_back) {
    const long long k = op.n[1];
    EACH_ROW(i, op.n[0]) {
        const Real *dy = array<const Real>(op, 0) + i * k, *y = array<const Real>(op, 1) + i * k;
        Real *out = array<Real>(op, 2) + i * k, sum = 0;
        EACH_COLUMN(j, k) sum += dy[j] * y[j];
        sum = warp_sum(sum);
        EACH_COLUMN(j, k) out[j] = (dy[j] - sum) * y[j];
    }
}

} // namespace mlpx
