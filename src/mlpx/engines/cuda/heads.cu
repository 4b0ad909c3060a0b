/* The head of a classifier in one launch: the last layer, its loss, and the way back to the layer before.
 *
 * A warp takes a row: its few outputs fit into the registers of every lane.
 */
#include "softmax.cuh"

namespace mlpx {

/* h = f(z + b) of a row; z keeps the sum if it is not h. */
template <class Real> FN void activate_row(const Operation &op, Real *z, Real *h, int lane) {
    const Constants<Real> fields(op);
    const Real *b = array<const Real>(op, 2);
    switch (op.n[3]) {
#define ACTIVATION(name, f, df)                                \
    case ACTIVATION_##name:                                    \
        EACH_COLUMN(i, op.n[1]) {                              \
            const Real x = z[i] + b[i];                        \
            if (z != h) z[i] = x;                              \
            h[i] = name##_f(x, fields.c);                      \
        }                                                      \
        break;
        MLPX_ACTIVATIONS(ACTIVATION)
#undef ACTIVATION
    }
}

/* dh f'(kept) of a row, in dh. */
template <class Real> FN void slope_row(const Operation &op, const Real *kept, Real *dh, int lane) {
    const Constants<Real> fields(op);
    switch (op.n[4]) {
#define ACTIVATION(name, f, df)                                                         \
    case ACTIVATION_##name:                                                             \
        EACH_COLUMN(i, op.n[1]) dh[i] *= name##_df(kept[i], fields.c);                  \
        break;
        MLPX_ACTIVATIONS(ACTIVATION)
#undef ACTIVATION
    }
}

/* The outputs of a row: k of them, which is known at run time, and at most K, which is known when compiling. The loop is
 * unrolled because an array stays in registers only if the compiler knows all its indices. */
#define EACH_OUTPUT(j)                           \
    _Pragma("unroll") for (int j = 0; j < K; j++) \
        if (j < k)

/* h W + b of a row, in every lane. */
template <int K, class Real> FN void outputs(const Operation &op, const Real *h, Real *z, int k, int lane) {
    const Real *W = array<const Real>(op, 3), *b = array<const Real>(op, 4);
    EACH_OUTPUT(j) z[j] = 0;
#pragma unroll (sizeof(Real) == 4 ? 2 : 1) /* more would take more registers than two blocks have */
    EACH_COLUMN(i, op.n[1])
        EACH_OUTPUT(j) z[j] += h[i] * W[i * k + j];
    EACH_OUTPUT(j) z[j] = warp_sum(z[j]) + (b ? b[j] : Real(0));
}

/* A row's terms of the loss and of the hits; z becomes its gradient. */
template <int K, class Real> FN void lose(Real *z, int k, long long label, Real r, Real *worth) {
    Real most = z[0], top = z[0], total = 0, own = 0;
    int best = 0;
    EACH_OUTPUT(j) {
        most = z[j] > most ? z[j] : most;
        if (top == top && !(z[j] <= top)) best = j, top = z[j]; /* NaN counts as largest */
    }
    const Reach<Real> reach(most);
    const bool known = label >= 0 && label < k; /* an ignored label is none of the classes */
    EACH_OUTPUT(j) {
        own = j == label ? reach.below(z[j]) : own;
        total += z[j] = exp_(reach.below(z[j]));
    }
    const Real scale = known ? 1 / total : Real(0);
    EACH_OUTPUT(j) z[j] = (z[j] * scale - (j == label ? Real(1) : Real(0))) * r;
    worth[0] = r * (known ? log(total) - own : Real(0));
    worth[1] = best == label ? r : Real(0);
}

/* A row of at most K outputs, from h to dh, which is NULL if no layer before learns. */
template <int K, class Real>
FN void finish_row(const Operation &op, long long row, const Real *h, Real *dh, Real *sums, int lane) {
    const int k = int(op.n[2]);
    const Real *W = array<const Real>(op, 3);
    Real z[K], *dz = array<Real>(op, 7) + row * k, worth[2];
    outputs<K>(op, h, z, k, lane);
    lose<K>(z, k, array<const long long>(op, 5)[row], array<const Real>(op, 6)[row], worth);
    if (lane == 0) sums[0] += worth[0], sums[1] += worth[1];
    EACH_OUTPUT(j) {
        if (j == lane) dz[j] = z[j];
    }
    if (!dh) return;
#pragma unroll (sizeof(Real) == 4 ? 2 : 1) /* more would take more registers than two blocks have */
    EACH_COLUMN(i, op.n[1]) {
        Real sum = 0;
        EACH_OUTPUT(j) sum += z[j] * W[i * k + j];
        dh[i] = sum;
    }
}

/* n: rows, d, k (at most 32, or 12 in double), formula of the layer before or -1, formula of the slope or -1, whether that
 * is of z. c: fields of both. p: z (rows, d) or NULL, h (rows, d), b (d), W (d, k), bias (k) or NULL, labels, r, dz
 * (rows, k), dh or NULL, line (3), log or NULL.
 *
 * h = f(z + b), softmax cross-entropy of h W + bias, its gradient dz, dh = dz W' times the slope of f at z or at h;
 * line = the mean loss, the share of right rows, and what is there; log[position] = line. */
KERNEL(softmax_head) {
    const long long d = op.n[1];
    Real sums[2] = {};
    EACH_ROW(row, op.n[0]) {
        Real *z = array<Real>(op, 0), *h = array<Real>(op, 1) + row * d, *dh = array<Real>(op, 8);
        z = z ? z + row * d : z, dh = dh ? dh + row * d : dh;
        if (op.n[3] >= 0) activate_row(op, z, h, lane);
        if (op.n[2] <= 8) finish_row<8>(op, row, h, dh, sums, lane);
        else if (op.n[2] <= 12) finish_row<12>(op, row, h, dh, sums, lane);
        else if constexpr (sizeof(Real) == 4) finish_row<32>(op, row, h, dh, sums, lane);
        if (op.n[4] >= 0) slope_row(op, op.n[5] ? z : h, dh, lane);
    }
    add_up<2>(op, sums, [=](const Real *total) {
        Real *line = array<Real>(op, 9), *log = array<Real>(op, 10);
        line[0] = total[0], line[1] = total[1];
        for (int a = 0; log && a < 3; a++) log[state[0] * 3 + a] = line[a];
    });
}

} // namespace mlpx
