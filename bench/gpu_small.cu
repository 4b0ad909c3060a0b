/* Products for layers too small to keep a GPU busy, where what counts is how long one load waits for another: tried by
 * gpu/small.py beside cublasLt's. Operations and formulas are the engine's; all numbers are float.
 */
#include "sums.cuh"

namespace mlpx {

#define DEPTH 16 /* of W and of x that a warp has on its way at a time */
#define MOST_ROWS 128 /* of a batch whose dW is taken at once */
#define UNROLL _Pragma("unroll")

/* What follows a product: n[3] says the formula, -1 for nothing; b is added before it. */
FN float finished(const Operation &op, float z, float b) {
    const Constants<float> fields(op);
    switch (op.n[3]) {
    case ACTIVATION_identity: return z + b;
    case ACTIVATION_sigmoid: return sigmoid_f(z + b, fields.c);
    case ACTIVATION_relu: return relu_f(z + b, fields.c);
    }
    return z;
}

FN int least(int a, int b) { return a < b ? a : b; }

/* n: rows, d, k, formula or -1, rows a step. c: scale, offset. p: x, W, z, b or NULL; for bytes, the epoch's order and
 * where the batch goes.
 *
 * z (rows, k) = f(x W + b) for few outputs and long d. A block takes ROWS x 32 of z and its warps divide d. GROUPS
 * lanes divide a warp's share again: with 1 each lane has a column, with 4 it has 4 columns for every fourth of d,
 * which reads x from shared memory a quarter as often. No warp waits for another before its share is done. */
template <int ROWS, int GROUPS, int WARPS, bool BYTES>
FN void affine(const Operation &op, [[maybe_unused]] const long long *state) {
    constexpr int SIDE = WARP / GROUPS, STEPS = DEPTH / GROUPS, HALF = ROWS / 2;
    const int n = int(op.n[0]), d = int(op.n[1]), k = int(op.n[2]), tiles = (k + WARP - 1) / WARP;
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, side = lane % SIDE, group = lane / SIDE;
    const int row0 = blockIdx.x / tiles * ROWS, column0 = blockIdx.x % tiles * WARP;
    const int each = (d + WARPS * DEPTH - 1) / (WARPS * DEPTH) * DEPTH, begin = warp * each;
    const int end = least(begin + each, d);
    const float *W = array<const float>(op, 1), *b = array<const float>(op, 3);
    const float bias = b && column0 + lane < k ? b[column0 + lane] : 0;
    const int deep = lane % DEPTH, high = lane / DEPTH * HALF; /* what a lane brings of x */
    const float scale = float(op.c[0]), offset = float(op.c[1]);
    long long from[HALF];
    UNROLL for (int r = 0; r < HALF; r++) {
        const int row = least(row0 + high + r, n - 1);
        from[r] = (BYTES ? array<const long long>(op, 4)[state[0] * op.n[4] + row] : row) * (long long)d + deep;
    }
    unsigned columns[GROUPS]; /* 32 bits are enough, and half the work */
    UNROLL for (int c = 0; c < GROUPS; c++) columns[c] = least(column0 + side + SIDE * c, k - 1);
    /* Rows and columns that z has not are copies of its last ones, and are not written. */
    float *mine = shared<float>() + warp * ROWS * WARP; /* two turns of x, at last the warp's sums */
    float sums[ROWS][GROUPS] = {}, w[STEPS][GROUPS], x[HALF];
    auto bring = [&](int i, bool whole) {
        UNROLL for (int r = 0; r < HALF; r++) {
            const bool there = whole || deep < end - i;
            if (BYTES) x[r] = there ? float(array<const unsigned char>(op, 0)[from[r] + i]) : 0;
            else x[r] = there ? array<const float>(op, 0)[from[r] + i] : 0;
        }
        unsigned ahead = (i + group) * k;
        UNROLL for (int s = 0; s < STEPS; s++, ahead += GROUPS * k)
            UNROLL for (int c = 0; c < GROUPS; c++)
                w[s][c] = whole || s * GROUPS + group < end - i ? W[ahead + columns[c]] : 0;
    };
    auto load = [&](int i) { i + DEPTH <= end ? bring(i, true) : bring(i, false); };
    load(begin);
    for (int i = begin, turn = 0; i < end; i += DEPTH, turn ^= 1) {
        float *stage = mine + turn * DEPTH * ROWS, now[STEPS][GROUPS];
        UNROLL for (int r = 0; r < HALF; r++) {
            const int row = row0 + high + r;
            if (BYTES) x[r] = x[r] * scale + offset;
            stage[deep * ROWS + high + r] = x[r];
            if (BYTES && column0 == 0 && i + deep < end && row < n) array<float>(op, 5)[row * d + i + deep] = x[r];
        }
        UNROLL for (int s = 0; s < STEPS; s++)
            UNROLL for (int c = 0; c < GROUPS; c++) now[s][c] = w[s][c];
        if (i + DEPTH < end) load(i + DEPTH); /* arrives while this is multiplied */
        __syncwarp();
        UNROLL for (int s = 0; s < STEPS; s++)
            UNROLL for (int q = 0; q < ROWS; q += 4) {
                const float4 four = *reinterpret_cast<float4 *>(stage + (s * GROUPS + group) * ROWS + q);
                UNROLL for (int c = 0; c < GROUPS; c++) {
                    sums[q][c] += four.x * now[s][c], sums[q + 1][c] += four.y * now[s][c];
                    sums[q + 2][c] += four.z * now[s][c], sums[q + 3][c] += four.w * now[s][c];
                }
            }
    }
    /* Each of the groups keeps one of its columns, and that is the lane's own: halves are exchanged, then quarters. */
    UNROLL for (int half = GROUPS / 2, apart = WARP / 2; half; half /= 2, apart /= 2)
        UNROLL for (int r = 0; r < ROWS; r++)
            UNROLL for (int c = 0; c < half; c++) {
                const bool upper = lane & apart;
                const float given = upper ? sums[r][c] : sums[r][c + half];
                const float kept = upper ? sums[r][c + half] : sums[r][c];
                sums[r][c] = kept + __shfl_xor_sync(ALL_LANES, given, apart);
            }
    __syncwarp(); /* all have read x */
    UNROLL for (int r = 0; r < ROWS; r++) mine[r * WARP + lane] = sums[r][0];
    __syncthreads();
    for (int r = warp; r < ROWS; r += WARPS) {
        float z = 0;
        UNROLL for (int w = 0; w < WARPS; w++) z += shared<float>()[(w * ROWS + r) * WARP + lane];
        const int row = row0 + r, column = column0 + lane;
        if (row < n && column < k) array<float>(op, 2)[row * k + column] = finished(op, z, bias);
    }
}

#define RULE(name, body)                                                                                  \
    FN void apply_##name(float *p, float g, float *m0, float *m1, float *m2, const float *s, const float *c, \
                         const float *o) {                                                                \
        (void)p, (void)g, (void)m0, (void)m1, (void)m2, (void)s, (void)c, (void)o;                        \
        using REAL [[maybe_unused]] = float;                                                              \
        body                                                                                              \
    }
MLPX_RULES(RULE)
#undef RULE

enum { GRADIENT, SGD, ADAM }; /* what n[3] asks for */

/* One number that is learned. It is fetched before its gradient is known, not to wait for it then. */
struct Learned {
    long long at;
    bool there, bias;
    float p, m0, m1;
    __device__ __forceinline__ void fetch(const Operation &op) {
        if (!there || op.n[3] == GRADIENT) return;
        p = array<const float>(op, 2 + bias)[at];
        if (op.n[3] == ADAM) m0 = array<const float>(op, 4 + bias)[at], m1 = array<const float>(op, 6 + bias)[at];
    }
    __device__ __forceinline__ void learn(const Operation &op, const float *s, float g) {
        if (!there) return;
        const Constants<float> fields(op), others(op, true);
        if (op.n[3] == GRADIENT) array<float>(op, 8 + bias)[at] = g;
        if (op.n[3] == SGD) apply_sgd(&p, g, &m0, &m1, nullptr, s, fields.c, others.c);
        if (op.n[3] == ADAM) {
            apply_adam(&p, g, &m0, &m1, nullptr, s, fields.c, others.c);
            array<float>(op, 4 + bias)[at] = m0, array<float>(op, 6 + bias)[at] = m1;
        }
        if (op.n[3] != GRADIENT) array<float>(op, 2 + bias)[at] = p;
    }
};

/* WIDTH columns of all rows of a matrix, its last one in place of those it has not, through registers into shared
 * memory: every load is on its way before one is waited for. */
template <int WIDTH> struct Brought {
    static constexpr int ABREAST = THREADS / WIDTH, COUNT = MOST_ROWS / ABREAST;
    float v[COUNT];
    int row = threadIdx.x / WIDTH, column = threadIdx.x % WIDTH;
    __device__ __forceinline__ void load(const float *from, int n, int columns, int first) {
        unsigned at = row * columns + least(first + column, columns - 1);
        UNROLL for (int q = 0; q < COUNT; q++, at += ABREAST * columns) v[q] = row + q * ABREAST < n ? from[at] : 0;
    }
    __device__ __forceinline__ void store(float *to) {
        UNROLL for (int q = 0; q < COUNT; q++) to[(row + q * ABREAST) * WIDTH + column] = v[q];
    }
};

/* n: rows <= 128, d, k, GRADIENT, SGD or ADAM, columns of the table. c: the rule's fields. p: x, dz, W, b, moments
 * of W and b, second moments of both, dW and db (for GRADIENT), table.
 *
 * dW (d, k) = x' dz and db, the sum of dz over the rows; or W and b moved by them, which nobody sees then. A block
 * takes 16 DOWN x 32 ACROSS of dW; a warp 16 x 32 of that for one of PARTS parts of the rows, a thread 4 x 4. */
template <int DOWN, int ACROSS, int PARTS> FN void dW(const Operation &op, const long long *state) {
    constexpr int HEIGHT = 16 * DOWN, WIDTH = 32 * ACROSS, EACH = HEIGHT * WIDTH / THREADS;
    static_assert(DOWN * ACROSS * PARTS == THREADS / WARP, "a warp for each part of each 16 x 32");
    const int n = int(op.n[0]), d = int(op.n[1]), k = int(op.n[2]), tiles = (k + WIDTH - 1) / WIDTH, id = threadIdx.x;
    const int lane = id % WARP, part = id / WARP % PARTS, place = id / WARP / PARTS;
    const int row0 = blockIdx.x / tiles * HEIGHT, column0 = blockIdx.x % tiles * WIDTH;
    const int down = place / ACROSS * 16 + lane / 8 * 4, across = place % ACROSS * 32 + lane % 8 * 4;
    const float *table = array<const float>(op, 10) + (op.n[3] == GRADIENT ? 0 : state[0] * op.n[4]);
    const float s[2] = {op.n[3] == GRADIENT ? 0 : table[0], op.n[3] == ADAM ? table[1] : 0};
    float *xs = shared<float>(), *dzs = xs + MOST_ROWS * HEIGHT;
    Brought<HEIGHT> x;
    Brought<WIDTH> dz;
    x.load(array<const float>(op, 0), n, d, row0), dz.load(array<const float>(op, 1), n, k, column0);
    Learned weights[EACH], bias = {column0 + id, row0 == 0 && id < WIDTH && column0 + id < k, true, 0, 0, 0};
    UNROLL for (int q = 0; q < EACH; q++) {
        const int e = id + q * THREADS, row = row0 + e / WIDTH, column = column0 + e % WIDTH;
        weights[q] = {row * (long long)k + column, row < d && column < k, false, 0, 0, 0};
        weights[q].fetch(op);
    }
    bias.fetch(op);
    x.store(xs), dz.store(dzs);
    __syncthreads();
    float sums[4][4] = {}, total[4] = {};
    _Pragma("unroll 4") for (int i = part; i < n; i += PARTS) {
        const float4 four = *reinterpret_cast<float4 *>(xs + i * HEIGHT + down);
        const float4 other = *reinterpret_cast<float4 *>(dzs + i * WIDTH + across);
        const float a[4] = {four.x, four.y, four.z, four.w}, g[4] = {other.x, other.y, other.z, other.w};
        UNROLL for (int c = 0; c < 4; c++) {
            UNROLL for (int r = 0; r < 4; r++) sums[r][c] += a[r] * g[c];
            total[c] += g[c];
        }
    }
    __syncthreads(); /* all have read x and dz: the parts' sums take their place */
    float *parts = xs, *totals = xs + PARTS * HEIGHT * WIDTH;
    UNROLL for (int c = 0; c < 4; c++) {
        UNROLL for (int r = 0; r < 4; r++) parts[(part * HEIGHT + down + r) * WIDTH + across + c] = sums[r][c];
        if (down == 0) totals[part * WIDTH + across + c] = total[c];
    }
    __syncthreads();
    UNROLL for (int q = 0; q < EACH; q++) {
        float g = 0;
        UNROLL for (int a = 0; a < PARTS; a++) g += parts[a * HEIGHT * WIDTH + id + q * THREADS];
        weights[q].learn(op, s, g);
    }
    float g = 0;
    for (int a = 0; bias.there && a < PARTS; a++) g += totals[a * WIDTH + id];
    bias.learn(op, s, g);
}

#define SMALL(name, threads, call)                                                                        \
    extern "C" __global__ void __launch_bounds__(threads) name##_float32(Operation op, const long long *state) { \
        call(op, state);                                                                                  \
    }
#define AFFINE(ROWS, GROUPS, WARPS)                                                                       \
    SMALL(affine_##ROWS##_##GROUPS##_##WARPS, 32 * WARPS, (affine<ROWS, GROUPS, WARPS, false>))
#define AFFINE_BYTES(ROWS, GROUPS, WARPS)                                                                 \
    SMALL(affine_bytes_##ROWS##_##GROUPS##_##WARPS, 32 * WARPS, (affine<ROWS, GROUPS, WARPS, true>))
AFFINE(4, 1, 8)
AFFINE(8, 1, 8)
AFFINE(4, 4, 8)
AFFINE(8, 4, 8)
AFFINE(16, 4, 8)
AFFINE(4, 4, 16)
AFFINE_BYTES(4, 1, 8)
AFFINE_BYTES(4, 4, 8)
AFFINE_BYTES(8, 4, 8)
SMALL(dW_1_1_8, THREADS, (dW<1, 1, 8>))
SMALL(dW_2_1_4, THREADS, (dW<2, 1, 4>))
SMALL(dW_2_2_2, THREADS, (dW<2, 2, 2>))

} // namespace mlpx
