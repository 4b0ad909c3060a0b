/* Losses with their gradients, the targets they take, and which rows are right. A warp takes a row. */
#include "softmax.cuh"

namespace mlpx {

/* n: rows, k, by labels. c: keep, add. p: labels or t, out. out = keep t + add, with t one-hot of labels. */
KERNEL(targets) {
    const long long k = op.n[1];
    const Real keep = Real(op.c[0]), more = Real(op.c[1]);
    EACH(e, op.n[0] * k) {
        const bool there = op.n[2] && array<const long long>(op, 0)[row_of(e, k)] == column_of(e, k);
        array<Real>(op, 1)[e] = (op.n[2] ? (there ? keep : Real(0)) : keep * array<const Real>(op, 0)[e]) + more;
    }
}

/* n: rows, d, m. p: y, out (rows, d m). Each column of y m times in a row. */
KERNEL(repeat) {
    EACH(e, op.n[0] * op.n[1] * op.n[2])
        array<Real>(op, 1)[e] = array<const Real>(op, 0)[row_of(e, op.n[2])];
}

/* Where the first largest of k numbers is, in every lane; NaN counts as largest, as in NumPy. */
template <class Real> FN long long argmax(const Real *z, long long k, int lane) {
    long long best = k;
    Real most = 0;
    EACH_COLUMN(j, k)
        if (best == k || (most == most && !(z[j] <= most))) best = j, most = z[j];
    for (int apart = WARP / 2; apart; apart /= 2) {
        const long long other = __shfl_xor_sync(ALL_LANES, best, apart);
        const Real its = __shfl_xor_sync(ALL_LANES, most, apart);
        if (other == k) continue;
        const bool nan = most != most, its_nan = its != its;
        const bool same = (nan && its_nan) || its == most;
        const bool larger = its_nan ? !nan : its > most;
        if (best == k || larger || (same && other < best)) best = other, most = its;
    }
    return best;
}

/* n: rows, k. p: z, labels, out. out = whether the first largest z of a row is at its label. */
KERNEL(correct) {
    EACH_ROW(i, op.n[0]) {
        const long long best = argmax(array<const Real>(op, 0) + i * op.n[1], op.n[1], lane);
        if (lane == 0) array<Real>(op, 2)[i] = best == array<const long long>(op, 1)[i];
    }
}

/* n: rows, k. p: t, out. out = where the first largest t of a row is. */
KERNEL(likeliest) {
    EACH_ROW(i, op.n[0]) {
        const long long best = argmax(array<const Real>(op, 0) + i * op.n[1], op.n[1], lane);
        if (lane == 0) array<long long>(op, 1)[i] = best;
    }
}

/* n: rows, k. p: z, t, out. out = 1 where z > 0 just where t > 1/2 in all of a row, else 0. */
KERNEL(all_correct) {
    const long long k = op.n[1];
    EACH_ROW(i, op.n[0]) {
        const Real *z = array<const Real>(op, 0) + i * k, *t = array<const Real>(op, 1) + i * k;
        int wrong = 0;
        EACH_COLUMN(j, k) wrong += (z[j] > 0) != (t[j] > Real(0.5));
        wrong = warp_sum(wrong);
        if (lane == 0) array<Real>(op, 2)[i] = wrong == 0;
    }
}

/* n: rows, k, by labels. p: z, labels or t, r, rows, dz. Softmax cross-entropy of each row and its gradient. */
KERNEL(softmax_loss) {
    const long long k = op.n[1];
    EACH_ROW(i, op.n[0]) {
        const Real *z = array<const Real>(op, 0) + i * k, r = array<const Real>(op, 2)[i];
        Real *dz = array<Real>(op, 4) + i * k, total = 0, loss;
        const Reach<Real> reach(largest_of(z, k, lane));
        EACH_COLUMN(j, k) total += dz[j] = exp_(reach.below(z[j]));
        total = warp_sum(total);
        if (op.n[2]) {
            const long long label = array<const long long>(op, 1)[i];
            const bool known = label >= 0 && label < k; /* an ignored label is none of the classes */
            const Real scale = known ? 1 / total : Real(0);
            EACH_COLUMN(j, k) dz[j] = (dz[j] * scale - (j == label ? Real(1) : Real(0))) * r;
            loss = known ? log(total) - reach.below(z[label]) : Real(0);
        } else {
            const Real *t = array<const Real>(op, 1) + i * k;
            Real mass = 0, dot = 0;
            EACH_COLUMN(j, k) mass += t[j], dot += t[j] * reach.below(z[j]);
            mass = warp_sum(mass), dot = warp_sum(dot);
            EACH_COLUMN(j, k) dz[j] = r * (dz[j] * (mass / total) - t[j]);
            loss = mass * log(total) - dot;
        }
        if (lane == 0) array<Real>(op, 3)[i] = loss;
    }
}

/* n: rows, k, formula. c: fields; the last is what each column is multiplied by. p: z, t, r, rows, dz, and up to
 * three constants (k). */
KERNEL(column_loss) {
    const Constants<Real> fields(op);
    const long long k = op.n[1];
    const Real portion = fields.c[7];
    EACH_ROW(i, op.n[0]) {
        const Real *z = array<const Real>(op, 0) + i * k, *t = array<const Real>(op, 1) + i * k;
        const Real r = array<const Real>(op, 2)[i];
        Real *dz = array<Real>(op, 4) + i * k, sum = 0, q[3] = {};
        EACH_COLUMN(j, k) {
            for (int a = 0; a < 3; a++) q[a] = op.p[5 + a] ? array<const Real>(op, 5 + a)[j] : Real(0);
            switch (op.n[2]) {
#define LOSS(name, value, slope)                                                          \
    case LOSS_##name:                                                                     \
        sum += portion * name##_value(z[j], t[j], fields.c, q);                           \
        dz[j] = portion * (r * name##_slope(z[j], t[j], fields.c, q));                    \
        break;
                MLPX_LOSSES(LOSS)
#undef LOSS
            }
        }
        sum = warp_sum(sum);
        if (lane == 0) array<Real>(op, 3)[i] = sum;
    }
}

/* out = log softmax(z) of a row; each lane reads back only what it wrote. */
template <class Real> FN void log_softmax(const Real *z, Real *out, long long k, int lane) {
    const Reach<Real> reach(largest_of(z, k, lane));
    Real total = 0;
    EACH_COLUMN(j, k) total += exp_(out[j] = reach.below(z[j]));
    total = log(warp_sum(total));
    EACH_COLUMN(j, k) out[j] -= total;
}

/* n: rows, k. p: z, t, r, rows, dz. Kullback and Leibler's divergence of each row and its gradient. */
KERNEL(kl_loss) {
    const long long k = op.n[1];
    const Real tiny = Limits<Real>::tiny;
    EACH_ROW(i, op.n[0]) {
        const Real *t = array<const Real>(op, 1) + i * k, r = array<const Real>(op, 2)[i];
        Real *dz = array<Real>(op, 4) + i * k, sum = 0, mass = 0;
        log_softmax(array<const Real>(op, 0) + i * k, dz, k, lane);
        EACH_COLUMN(j, k) sum += (log(t[j] < tiny ? tiny : t[j]) - dz[j]) * t[j], mass += t[j];
        sum = warp_sum(sum), mass = warp_sum(mass);
        EACH_COLUMN(j, k) dz[j] = r * (exp_(dz[j]) * mass - t[j]);
        if (lane == 0) array<Real>(op, 3)[i] = sum;
    }
}

/* n: rows, k. c: gamma. p: z, t, r, rows, dz, alpha (k). Focal loss of each row and its gradient. */
KERNEL(focal_loss) {
    const long long k = op.n[1];
    const Real tiny = Limits<Real>::tiny, gamma = Real(op.c[0]);
    const Real *alpha = array<const Real>(op, 5);
    EACH_ROW(i, op.n[0]) {
        const Real *t = array<const Real>(op, 1) + i * k, r = array<const Real>(op, 2)[i];
        Real *dz = array<Real>(op, 4) + i * k, sum = 0, slopes = 0;
        log_softmax(array<const Real>(op, 0) + i * k, dz, k, lane);
        for (int pass = 0; pass < 2; pass++) { /* the sum of the slopes comes before any gradient */
            EACH_COLUMN(j, k) {
                const Real L = dz[j], p = exp_(L), u = -expm1_(L), power = pow(u, gamma) * t[j] * alpha[j];
                const Real g = (L * p / (u < tiny ? tiny : u) * gamma - 1) * power;
                if (pass) dz[j] = r * (g - p * slopes);
                else sum -= power * L, slopes += g;
            }
            if (!pass) sum = warp_sum(sum), slopes = warp_sum(slopes);
        }
        if (lane == 0) array<Real>(op, 3)[i] = sum;
    }
}

} // namespace mlpx
