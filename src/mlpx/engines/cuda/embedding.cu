/* Embeddings of codes, and of numbers by waves and by pieces. */
#include "sums.cuh"

namespace mlpx {

/* A code among `size` as a number of it: the nearest where x is none, 0 where it is NaN. */
template <class Real> FN long long code(Real x, long long size) {
    const Real last = Real(size - 1);
    x = x > 0 ? x : Real(0);
    return (long long)(x < last ? x : last);
}

/* n: rows, columns of out, d, codes, width. p: x, E, starts (codes + 1), out. A row's numbers, then for each code its row
 * of E. */
KERNEL(look_up) {
    const long long columns = op.n[1], d = op.n[2], width = op.n[4], numbers = d - op.n[3];
    const long long *starts = array<const long long>(op, 2);
    EACH(e, op.n[0] * columns) {
        const long long j = column_of(e, columns);
        const Real *x = array<const Real>(op, 0) + row_of(e, columns) * d;
        Real value;
        if (j < numbers) value = x[j];
        else {
            const long long f = row_of(j - numbers, width);
            const long long entry = starts[f] + code(x[numbers + f], starts[f + 1] - starts[f]);
            value = array<const Real>(op, 1)[entry * width + (j - numbers - f * width)];
        }
        array<Real>(op, 3)[e] = value;
    }
}

/* Numbers of an entry, of a bin or of a wave that are summed at a time. */
#define TOGETHER 4

/* The part of `parts` that `at` is in; starts (parts + 1). */
FN long long part_of(const long long *starts, long long at) {
    long long f = 0;
    while (starts[f + 1] <= at) f++;
    return f;
}

/* n: entries, rows, d, codes, width. p: x, dy, starts, dE. dE = the sum of dy over the rows with an entry's code. A warp
 * looks for its entry in all rows: so no two add to one place. */
KERNEL(look_up_sums) {
    const long long d = op.n[2], codes = op.n[3], width = op.n[4], numbers = d - codes;
    const long long columns = numbers + codes * width, *starts = array<const long long>(op, 2);
    EACH_ROW(entry, op.n[0]) {
        const long long f = part_of(starts, entry), own = entry - starts[f], size = starts[f + 1] - starts[f];
        const Real *x = array<const Real>(op, 0) + numbers + f, *dy = array<const Real>(op, 1) + numbers + f * width;
        for (long long from = 0; from < width; from += TOGETHER) {
            Real sums[TOGETHER] = {};
            EACH_COLUMN(i, op.n[1]) {
                if (code(x[i * d], size) != own) continue;
                for (int q = 0; q < TOGETHER; q++)
                    if (from + q < width) sums[q] += dy[i * columns + from + q];
            }
            for (int q = 0; q < TOGETHER; q++) {
                const Real sum = warp_sum(sums[q]);
                if (lane == 0 && from + q < width) array<Real>(op, 3)[entry * width + from + q] = sum;
            }
        }
    }
}

/* n: rows, d, columns of dy, codes. p: dy, dx. dx = dy of the numbers, 0 of the codes. */
KERNEL(look_up_dx) {
    const long long d = op.n[1], numbers = d - op.n[3];
    EACH(e, op.n[0] * d) {
        const long long i = row_of(e, d), j = column_of(e, d);
        array<Real>(op, 1)[e] = j < numbers ? array<const Real>(op, 0)[i * op.n[2] + j] : Real(0);
    }
}

/* 1 / (2 pi), from an angle to turns, and back. */
#define BY_TURN Real(0.15915494309189535)
#define TURN Real(6.283185307179586)

/* n: rows, columns of out, d, embedded, width, waves. p: x, w, b, V, c, out. For each embedded column x_f its number and
 * cos(2 pi x_f w_f + b_f) V_f + c_f, then the other columns. */
KERNEL(waves) {
    const long long columns = op.n[1], d = op.n[2], k = op.n[3], width = op.n[4], h = op.n[5];
    const Real *w = array<const Real>(op, 1), *b = array<const Real>(op, 2), *V = array<const Real>(op, 3);
    EACH(e, op.n[0] * columns) {
        const long long j = column_of(e, columns), f = row_of(j, width), q = j - f * width - 1;
        const Real *xs = array<const Real>(op, 0) + row_of(e, columns) * d, x = xs[f < k ? f : j - k * (width - 1)];
        Real value = x;
        if (f < k && q >= 0) {
            value = array<const Real>(op, 4)[f * (width - 1) + q];
            for (long long g = f * h; g < (f + 1) * h; g++)
                value += cos_of_turns(x * w[g] + b[g] * BY_TURN) * V[g * (width - 1) + q];
        }
        array<Real>(op, 5)[e] = value;
    }
}

/* n: rows, d, columns of dy, embedded, width, waves. p: x, dy, w, b, V, dx. */
KERNEL(waves_dx) {
    const long long d = op.n[1], k = op.n[3], more = op.n[4] - 1, h = op.n[5];
    const Real *w = array<const Real>(op, 2), *b = array<const Real>(op, 3), *V = array<const Real>(op, 4);
    EACH(e, op.n[0] * d) {
        const long long i = row_of(e, d), f = column_of(e, d);
        const Real *dy = array<const Real>(op, 1) + i * op.n[2], x = array<const Real>(op, 0)[e];
        Real value = dy[f < k ? f * (more + 1) : f + k * more], sum = 0;
        for (long long g = f * h; f < k && g < (f + 1) * h; g++) {
            Real dwave = 0;
            for (long long q = 0; q < more; q++) dwave += dy[f * (more + 1) + 1 + q] * V[g * more + q];
            sum -= w[g] * (sin_of_turns(x * w[g] + b[g] * BY_TURN) * dwave);
        }
        array<Real>(op, 5)[e] = value + TURN * sum;
    }
}

/* n: rows, all waves, d, embedded, width, waves of a column. p: x, dy, w, b, V, dw, db, dV, dc. A block takes whole waves,
 * the numbers of a wave's line of V a few at a time: dw and db are sums over all of them. */
KERNEL(waves_sums) {
    const long long d = op.n[2], k = op.n[3], more = op.n[4] - 1, h = op.n[5], columns = d + k * more;
    const Real *w = array<const Real>(op, 2), *b = array<const Real>(op, 3);
    for (long long from = 0; from < more; from += TOGETHER) {
        const Real *V = array<const Real>(op, 4) + from;
        sum_columns<2 + 2 * TOGETHER, Real>(
            op, op.n[0], op.n[1],
            [=](long long i, long long g, Real *sums) {
                const long long f = row_of(g, h);
                const Real x = array<const Real>(op, 0)[i * d + f], u = x * w[g] + b[g] * BY_TURN;
                const Real *dz = array<const Real>(op, 1) + i * columns + f * (more + 1) + 1 + from;
                const Real wave = cos_of_turns(u);
                Real da = 0;
                for (int q = 0; q < TOGETHER; q++)
                    if (from + q < more) {
                        da -= V[g * more + q] * dz[q];
                        sums[2 + q] += wave * dz[q];
                        sums[2 + TOGETHER + q] += dz[q];
                    }
                da *= sin_of_turns(u);
                sums[0] += da * x;
                sums[1] += da;
            },
            [=](long long g, const Real *sums) {
                const long long f = row_of(g, h);
                Real *dw = array<Real>(op, 5) + g, *db = array<Real>(op, 6) + g;
                *dw = (from ? *dw : Real(0)) + TURN * sums[0];
                *db = (from ? *db : Real(0)) + sums[1];
                for (int q = 0; q < TOGETHER; q++)
                    if (from + q < more) {
                        array<Real>(op, 7)[g * more + from + q] = sums[2 + q];
                        if (g == f * h) array<Real>(op, 8)[f * more + from + q] = sums[2 + TOGETHER + q];
                    }
            });
    }
}

/* The bin that x is in among `bins`: the last that begins at or below x, or the first. */
template <class Real> FN long long bin(Real x, const Real *left, long long bins) {
    long long t = 0;
    for (long long half; bins > 1; bins -= half) {
        half = bins / 2;
        t += x >= left[t + half] ? half : 0;
    }
    return t;
}

/* n: rows, columns of out, d, embedded, width. p: x, left, size, starts (embedded + 1), V, c, out. For each embedded column
 * the sum of the lines of V of the bins below its number, and of its own in part, and c; then the other columns. */
KERNEL(pieces) {
    const long long columns = op.n[1], d = op.n[2], k = op.n[3], width = op.n[4];
    const long long *starts = array<const long long>(op, 3);
    EACH(e, op.n[0] * columns) {
        const long long j = column_of(e, columns), f = row_of(j, width), q = j - f * width;
        const Real *xs = array<const Real>(op, 0) + row_of(e, columns) * d, x = xs[f < k ? f : j - k * (width - 1)];
        Real value = x;
        if (f < k) {
            const Real *left = array<const Real>(op, 1) + starts[f];
            const Real *V = array<const Real>(op, 4) + starts[f] * width + q;
            const long long t = bin(x, left, starts[f + 1] - starts[f]);
            value = array<const Real>(op, 5)[j];
            for (long long s = 0; s < t; s++) value += V[s * width];
            value += (x - left[t]) / array<const Real>(op, 2)[starts[f] + t] * V[t * width];
        }
        array<Real>(op, 6)[e] = value;
    }
}

/* n: rows, d, columns of dy, embedded, width. p: x, dy, left, size, starts, V, dx. */
KERNEL(pieces_dx) {
    const long long d = op.n[1], k = op.n[3], width = op.n[4];
    const long long *starts = array<const long long>(op, 4);
    EACH(e, op.n[0] * d) {
        const long long i = row_of(e, d), f = column_of(e, d);
        const Real *dy = array<const Real>(op, 1) + i * op.n[2], x = array<const Real>(op, 0)[e];
        Real value = 0;
        if (f < k) {
            const long long t = starts[f] + bin(x, array<const Real>(op, 2) + starts[f], starts[f + 1] - starts[f]);
            for (long long q = 0; q < width; q++) value += dy[f * width + q] * array<const Real>(op, 5)[t * width + q];
            value /= array<const Real>(op, 3)[t];
        } else value = dy[f + k * (width - 1)];
        array<Real>(op, 6)[e] = value;
    }
}

/* n: all bins, rows, d, embedded, width. p: x, dy, left, size, starts, dV, dc. A warp sums over all rows how much of its
 * bin lies below their numbers, times dy; that of a column's first bin sums dc too. */
KERNEL(pieces_sums) {
    const long long d = op.n[2], k = op.n[3], width = op.n[4], columns = d + k * (width - 1);
    const long long *starts = array<const long long>(op, 4);
    EACH_ROW(t, op.n[0]) {
        const long long f = part_of(starts, t);
        const bool first = t == starts[f], last = t == starts[f + 1] - 1;
        const Real left = array<const Real>(op, 2)[t], size = array<const Real>(op, 3)[t];
        const Real *x = array<const Real>(op, 0) + f, *dy = array<const Real>(op, 1) + f * width;
        for (long long from = 0; from < width; from += TOGETHER) {
            Real sums[TOGETHER] = {}, all[TOGETHER] = {};
            EACH_COLUMN(i, op.n[1]) {
                Real part = (x[i * d] - left) / size;
                part = part < 0 && !first ? Real(0) : part > 1 && !last ? Real(1) : part;
                for (int q = 0; q < TOGETHER; q++)
                    if (from + q < width) {
                        sums[q] += part * dy[i * columns + from + q];
                        all[q] += dy[i * columns + from + q];
                    }
            }
            for (int q = 0; q < TOGETHER; q++) {
                const Real sum = warp_sum(sums[q]), whole = warp_sum(all[q]);
                if (lane == 0 && from + q < width) array<Real>(op, 5)[t * width + from + q] = sum;
                if (lane == 0 && from + q < width && first) array<Real>(op, 6)[f * width + from + q] = whole;
            }
        }
    }
}

} // namespace mlpx
