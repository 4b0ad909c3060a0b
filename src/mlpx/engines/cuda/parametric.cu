/* Activations mixed with their input by a learnt share of each unit. */
#include "sums.cuh"

namespace mlpx {

/* f(x), and f' of what f keeps, by the code of the formula: all threads of a launch take the same way. */
template <class Real> FN Real value_of(long long formula, Real x, const Real *c) {
    switch (formula) {
#define ACTIVATION(name, f, df) \
    case ACTIVATION_##name: return name##_f(x, c);
        MLPX_ACTIVATIONS(ACTIVATION)
#undef ACTIVATION
    }
    return x;
}
template <class Real> FN Real slope_of(long long formula, Real kept, const Real *c) {
    switch (formula) {
#define ACTIVATION(name, f, df) \
    case ACTIVATION_##name: return name##_df(kept, c);
        MLPX_ACTIVATIONS(ACTIVATION)
#undef ACTIVATION
    }
    return Real(1);
}

/* n: rows, d, formula. c: fields. p: x, a (d), out. out = a f(x) + (1 - a) x. */
KERNEL(parametric) {
    const Constants<Real> fields(op);
    const long long d = op.n[1];
    const Real *xs = array<const Real>(op, 0), *as = array<const Real>(op, 1);
    EACH(i, op.n[0] * d) {
        const Real x = xs[i], a = as[column_of(i, d)];
        array<Real>(op, 2)[i] = value_of(op.n[2], x, fields.c) * a + x * (1 - a);
    }
}

/* n: rows, d, formula, by output. c: fields. p: dy, x, a (d), da (d), out, which may be dy. da = column sums of
 * dy (f(x) - x), out = dy (a f' + 1 - a), where f' is of x, or of f(x) if by output. */
KERNEL(parametric_back) {
    const Constants<Real> fields(op);
    const long long d = op.n[1];
    const Real *dys = array<const Real>(op, 0), *xs = array<const Real>(op, 1), *as = array<const Real>(op, 2);
    sum_columns<1, Real>(
        op, op.n[0], d,
        [=](long long i, long long j, Real *sums) {
            const Real dy = dys[i * d + j], x = xs[i * d + j], f = value_of(op.n[2], x, fields.c);
            sums[0] += dy * (f - x);
            const Real slope = slope_of(op.n[2], op.n[3] ? f : x, fields.c);
            array<Real>(op, 4)[i * d + j] = dy * slope * as[j] + dy * (1 - as[j]);
        },
        [=](long long j, const Real *sums) { array<Real>(op, 3)[j] = sums[0]; });
}

} // namespace mlpx
