/* Optimizers' rules in one pass over the flat vector, and what surrounds them. */
#include "sums.cuh"

namespace mlpx {

/* n: elements, table columns. c: fields. p: parameters, gradient, moments (4), table row of scalars. */
#define RULE(name, body)                                                                                  \
    KERNEL(rule_##name) {                                                                                 \
        const Constants<Real> fields(op), others(op, true);                                               \
        const Real *c = fields.c, *o = others.c, *s = array<const Real>(op, 6) + state[0] * op.n[1];      \
        Real *ps = array<Real>(op, 0), *m0s = array<Real>(op, 2), *m1s = array<Real>(op, 3),              \
             *m2s = array<Real>(op, 4);                                                                   \
        const Real *gs = array<const Real>(op, 1);                                                        \
        (void)c, (void)o, (void)m0s, (void)m1s, (void)m2s;                                                \
        EACH(i, op.n[0]) {                                                                                \
            Real *p = ps + i, g = gs[i], *m0 = m0s + i, *m1 = m1s + i, *m2 = m2s + i;                     \
            (void)m0, (void)m1, (void)m2;                                                                 \
            using REAL [[maybe_unused]] = Real;                                                           \
            body                                                                                          \
        }                                                                                                 \
    }
MLPX_RULES(RULE)
#undef RULE

/* n: elements. c: limit. p: g. g = min(max(g, -limit), limit). */
KERNEL(clip_values) {
    Real *g = array<Real>(op, 0), limit = Real(op.c[0]);
    EACH(i, op.n[0]) g[i] = clip(g[i], -limit, limit);
}

/* n: elements. p: g, out. out = sum g**2, in double. */
KERNEL(sum_squares) {
    const Real *g = array<const Real>(op, 0);
    sum_all<1, double>(
        op, op.n[0], [=](long long i, double *sums) { sums[0] += (double)g[i] * (double)g[i]; },
        [=](const double *sums) { *array<double>(op, 1) = sums[0]; });
}

/* n: how many squares. c: limit. p: squares, out. out = min(1, limit / sqrt(sum squares)). */
KERNEL(norm_factor) {
    if (blockIdx.x || threadIdx.x) return;
    double total = 0;
    for (long long i = 0; i < op.n[0]; i++) total += array<const double>(op, 0)[i];
    total = sqrt(total);
    *array<Real>(op, 1) = Real(op.c[0] / (total < op.c[0] ? op.c[0] : total));
}

/* n: elements, columns of the table (0: no table). p: a, factor. a *= factor. */
KERNEL(scale_by) {
    const Real factor = array<const Real>(op, 1)[op.n[1] * state[0]];
    EACH(i, op.n[0]) array<Real>(op, 0)[i] *= factor;
}

/* n: elements. c: decay. p: p, g. g += decay p. */
KERNEL(add_decay) {
    const Real decay = Real(op.c[0]);
    EACH(i, op.n[0]) array<Real>(op, 1)[i] += decay * array<const Real>(op, 0)[i];
}

/* n: elements, over (1: out is overwritten). p: a, out. out += a. */
KERNEL(add) {
    const Real *a = array<const Real>(op, 0);
    Real *out = array<Real>(op, 1);
    EACH(i, op.n[0]) out[i] = op.n[1] ? a[i] : out[i] + a[i];
}

/* n: elements, columns of the table. p: p, keep, weight, out. out = keep out + weight p. */
KERNEL(blend) {
    const long long row = op.n[1] * state[0];
    const Real keep = array<const Real>(op, 1)[row], weight = array<const Real>(op, 2)[row];
    Real *out = array<Real>(op, 3);
    EACH(i, op.n[0]) out[i] = keep * out[i] + weight * array<const Real>(op, 0)[i];
}

/* n: elements. c: l1, l2. p: W, loss, weight or NULL. loss += (l1 sum |W| + l2 sum W**2) / weight. */
KERNEL(penalty) {
    const Real *W = array<const Real>(op, 0);
    const Real l1 = Real(op.c[0]), l2 = Real(op.c[1]);
    sum_all<2, Real>(
        op, op.n[0], [=](long long i, Real *sums) { sums[0] += abs_(W[i]), sums[1] += W[i] * W[i]; },
        [=](const Real *sums) {
            /* No penalty where its strength is 0, whatever W is. */
            const Real sum = (l1 != 0 ? l1 * sums[0] : Real(0)) + l2 * sums[1];
            *array<Real>(op, 1) += op.p[2] ? sum / *array<const Real>(op, 2) : sum;
        });
}

/* n: d, k. c: l1, 2 l2. p: W, dW, weight or NULL. dW += (l1 sign(W) + 2 l2 W) / weight. */
KERNEL(penalty_gradient) {
    const Real weight = op.p[2] ? *array<const Real>(op, 2) : Real(1);
    const Real l1 = Real(op.c[0]) / weight, l2 = Real(op.c[1]) / weight;
    const Real *W = array<const Real>(op, 0);
    EACH(i, op.n[0] * op.n[1]) array<Real>(op, 1)[i] += l1 * sign(W[i]) + l2 * W[i];
}

/* n: d, k. c: most. p: W. Columns whose norm is above `most` are scaled down to it. A block takes whole columns. */
KERNEL(limit_norms) {
    const long long n = op.n[0], d = op.n[1];
    const Columns at(d);
    const Real most = Real(op.c[0]);
    Real *W = array<Real>(op, 0), squares = 0;
    for (long long i = at.inside ? at.lane : n; i < n; i += LANES) squares += W[i * d + at.column] * W[i * d + at.column];
    const Real norm = sqrt(lanes_sum(squares)), factor = norm > most ? most / norm : Real(1);
    for (long long i = at.inside ? at.lane : n; i < n; i += LANES) W[i * d + at.column] *= factor;
}

/* n: elements. p: a, out. out = the Euclidean norm of a. */
KERNEL(norm) {
    const Real *a = array<const Real>(op, 0);
    sum_all<1, Real>(
        op, op.n[0], [=](long long i, Real *sums) { sums[0] += a[i] * a[i]; },
        [=](const Real *sums) { *array<Real>(op, 1) = sqrt(sums[0]); });
}

/* n: elements, table columns. c: beta1, beta2, decay. p: p, g, m, v, u, table row: rate, unbias, epsilon.
 * Adam's moments, and u = unbias m / (sqrt(v) + epsilon) + decay p. */
KERNEL(lamb_direction) {
    const Constants<Real> fields(op), others(op, true);
    const Real *s = array<const Real>(op, 5) + state[0] * op.n[1], *g = array<const Real>(op, 1);
    Real *m = array<Real>(op, 2), *v = array<Real>(op, 3);
    EACH(i, op.n[0]) {
        m[i] = fields.c[0] * m[i] + others.c[0] * g[i];
        v[i] = fields.c[1] * v[i] + others.c[1] * g[i] * g[i];
        array<Real>(op, 4)[i] = m[i] / (sqrt(v[i]) + s[2]) * s[1] + fields.c[2] * array<const Real>(op, 0)[i];
    }
}

/* n: elements. p: p, u, out. out = |p| / |u|, 1 where either is zero. */
KERNEL(trust_ratio) {
    const Real *p = array<const Real>(op, 0), *u = array<const Real>(op, 1);
    sum_all<2, Real>(
        op, op.n[0], [=](long long i, Real *sums) { sums[0] += p[i] * p[i], sums[1] += u[i] * u[i]; },
        [=](const Real *sums) {
            const Real of_p = sqrt(sums[0]), of_u = sqrt(sums[1]);
            *array<Real>(op, 2) = of_p == 0 || of_u == 0 ? Real(1) : of_p / of_u;
        });
}

/* n: elements, table columns. c: constant. p: p, u, ratio or NULL, table row: rate. p -= rate constant ratio u. */
KERNEL(descend) {
    const Real ratio = op.p[2] ? *array<const Real>(op, 2) : Real(1);
    const Real rate = array<const Real>(op, 3)[state[0] * op.n[1]] * Real(op.c[0]) * ratio;
    EACH(i, op.n[0]) array<Real>(op, 0)[i] -= rate * array<const Real>(op, 1)[i];
}

/* n: elements, nesterov. c: momentum. p: g, m, X. m = momentum m + (1 - momentum) g; X = m, or one step ahead of it. */
KERNEL(muon_direction) {
    const Real momentum = Real(op.c[0]), other = Real(1 - op.c[0]);
    const Real *g = array<const Real>(op, 0);
    Real *m = array<Real>(op, 1);
    EACH(i, op.n[0]) {
        m[i] = momentum * m[i] + other * g[i];
        array<Real>(op, 2)[i] = op.n[1] ? other * g[i] + momentum * m[i] : m[i];
    }
}

/* n: elements. c: epsilon. p: X, norm. X /= norm + epsilon. */
KERNEL(shrink) {
    const Real size = *array<const Real>(op, 1) + Real(op.c[0]);
    EACH(i, op.n[0]) array<Real>(op, 0)[i] /= size;
}

} // namespace mlpx
