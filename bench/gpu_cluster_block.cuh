// A block of a cluster of B: 784 / B of the columns of x and of the rows of W1, in shared memory.
// The net is 784-50-10 with ReLU, squared error and SGD, without biases: so that every value can be
// checked. A wait that takes too long gives up and says so: it must not hang.
#pragma once

constexpr int HIDDEN = 50, OUT = 10, TRIES = 20000;
enum How { LOAD, STORE, ASYNC, BULK, BARRIER };  // how messages go; BARRIER: none do

__device__ inline float4 descended(float4 w, float rate, float4 d) {
    return make_float4(w.x - rate * d.x, w.y - rate * d.y, w.z - rate * d.z, w.w - rate * d.w);
}
__device__ inline float2 descended(float2 w, float rate, float2 d) {
    return make_float2(w.x - rate * d.x, w.y - rate * d.y);
}

template <int B> struct Block {
    static constexpr int COLUMNS = 784 / B, S = (COLUMNS + 3) / 4 * 4, K = (COLUMNS + 7) / 8 * 8;
    static constexpr int ROWS = (BATCH + B - 1) / B, ITEMS = ROWS * N / 4, MORE = 128 / B;
    static constexpr int X = 112 * S + 16, GOT = 112 * N + 16;
    static constexpr int SPLIT = THREADS / (S / 4 * 13);
    float *x0, *W, *P, *got0, *more0, *own, *h, *dz, *W2, *dW2, *scratch;
    unsigned barriers;
    int rank, id = threadIdx.x, failed = 0;

    __device__ explicit Block(int rank_) : rank(rank_) {
        float *next = reinterpret_cast<float *>(shared_memory());
        auto take = [&](int count) { return (next += count) - count; };
        barriers = address(take(16));
        x0 = take(2 * X), W = take(K * N + 16), P = take(112 * N);
        got0 = take(2 * GOT), more0 = take(2 * 512);
        own = take(ROWS * N), h = take(ROWS * N + 64), dz = take(ROWS * 12 + 16);
        W2 = take(4 * MORE), dW2 = take(512), scratch = take((SPLIT - 1) * S * N);
        for (float *p = x0 + id; p < next; p += THREADS) *p = 0;
        if (id == 0) start(barriers), start(barriers + 8), fence_started();
        __syncthreads();
    }

    // Each of them twice, for even and odd exchanges or steps.
    __device__ float *x(int n) { return x0 + (n & 1) * X; }
    __device__ float *got(int e) { return got0 + (e & 1) * GOT; }
    __device__ float *more(int e) { return more0 + (e & 1) * 512; }

    // Sends every block `items` float4 and `extras`, and waits for theirs. Block t is sent those
    // from t * step and t * extra_step on; what came lies in the order of the senders in got and
    // more, of the parity of e, which counts the exchanges.
    __device__ void exchange(int how, int e, const float *from, int step, int items,
                             const float *extra, int extra_step, int extras) {
        if (how == BARRIER) return cluster_barrier();
        if (how == BULK) fence_async();
        if (__syncthreads_or(failed)) return;  // what is sent is written, what came before is read
        const unsigned barrier = barriers + 8 * (e & 1);
        if (how == LOAD) cluster_barrier();
        if ((how == ASYNC || how == BULK) && id == 0) expect(barrier, B * 16 * (items + extras));
        send(how, barrier, from, step, items, got(e));
        if (extras) send(how, barrier, extra, extra_step, extras, more(e));
        if (how == LOAD) __syncthreads();
        if (how == STORE) cluster_barrier();
        if (how == LOAD || how == STORE) return;
        int tries = 0;
        while (!ready(barrier, e >> 1 & 1) && tries < TRIES) tries++;
        failed |= tries == TRIES;
    }

    // THREADS / B threads serve block t; each block begins with another t.
    __device__ void send(int how, unsigned barrier, const float *from, int step, int items,
                         float *to) {
        const int t = (id / 32 + rank) % B, first = id / 32 / B * 32 + id % 32;
        const float4 *source = reinterpret_cast<const float4 *>(from) + t * step;
        float4 *here = reinterpret_cast<float4 *>(to) + t * items;
        const unsigned theirs = peer(address(from) + 16 * rank * step, t);
        const unsigned there = peer(address(to) + 16 * rank * items, t), signal = peer(barrier, t);
        if (how == BULK && first == 0) copy_async(there, address(source), 16 * items, signal);
        if (how == LOAD)
            for (int j = first; j < items; j += THREADS / B) here[j] = load_peer(theirs + 16 * j);
        if (how == STORE)
            for (int j = first; j < items; j += THREADS / B) store_peer(there + 16 * j, source[j]);
        if (how == ASYNC)
            for (int j = first; j < items; j += THREADS / B)
                store_async(there + 16 * j, source[j], signal);
    }

    __device__ void add_up(const float *parts, float *sums, float least) {
        for (int i = id; i < ROWS * N; i += THREADS) {
            float sum = 0;
            for (int b = 0; b < B; b++) sum += parts[b * ROWS * N + i];
            sums[i] = fmaxf(sum, least);
        }
    }

    __device__ void multiply(int tf32, const float *x) {
        auto put = [&](int i, int j, auto v) {
            *reinterpret_cast<decltype(v) *>(P + i * N + j) = v;
        };
        tf32 ? tensor<7, K / 8, S, 1>(x, W, put) : forward<S>(x, W, put);
    }

    __device__ void descend(int tf32, const float *x, const float *d, float rate) {
        auto put = [&](int i, int j, auto v) {
            auto *w = reinterpret_cast<decltype(v) *>(W + i * N + j);
            if (i < COLUMNS) *w = descended(*w, rate, v);
        };
        tf32 ? tensor<(S + 15) / 16, 13, 1, S>(x, d, put) : backward<S, SPLIT>(x, d, scratch, put);
    }

    // From the sums of its rows to their dz1, in own, and the part of dW2 that is theirs.
    __device__ void middle(const float *parts, const float *W2) {
        add_up(parts, h, 0);
        __syncthreads();
        for (int i = id; i / 32 * 32 < ROWS * OUT * 4; i += THREADS) {  // four threads for each z2
            const int row = i / 40, o = i / 4 % OUT, r = rank * ROWS + row;
            float z = 0;
            for (int j = i % 4; j < HIDDEN; j += 4) z = fmaf(h[row * N + j], W2[j * OUT + o], z);
            z += __shfl_xor_sync(~0u, z, 1), z += __shfl_xor_sync(~0u, z, 2);
            if (i % 4 == 0 && row < ROWS)
                dz[row * 12 + o] = r < BATCH ? (z - .1f * ((r * 7 + o * 3) % 10)) / BATCH : 0;
        }
        __syncthreads();
        for (int i = id; i < ROWS * N; i += THREADS) {
            float sum = 0;
            for (int o = 0; o < OUT; o++) sum = fmaf(dz[i / N * 12 + o], W2[i % N * OUT + o], sum);
            own[i] = h[i] > 0 ? sum : 0;
        }
        float sum = 0;
        for (int r = 0; r < ROWS; r++) sum = fmaf(h[r * N + id / OUT], dz[r * 12 + id % OUT], sum);
        dW2[id] = sum;
    }

    // clocks[rank]: the cycles of the loop; flags[rank]: what was wrong.
    __device__ void report(long long begun, int wrong, long long *clocks, int *flags) {
        const long long taken = clock64() - begun;
        const int bad = __syncthreads_or(wrong | failed << 1);
        if (id == 0) clocks[rank] = taken, flags[rank] = bad;
    }
};
