// What training a small net in one launch rests on, measured by gpu/cluster.py: a cluster of B
// blocks that trains 784-50-10 at batch 100 in shared memory, and its parts one by one.
#include "gpu_cluster.cuh"
#include "gpu_cluster_products.cuh"
#include "gpu_cluster_block.cuh"

// scatter: parts (B, ROWS, N) of each block are added up, block r's rows r by itself; or each block
// gets the first items of every block. The first number of a message says when it was sent.
template <int B> __device__ void swap(int how, int scatter, int items, int rounds, const float *in,
                                      float *out, long long *clocks, int *flags) {
    using Cut = Block<B>;
    Cut b(cluster_rank());
    for (int i = b.id; i < B * Cut::ITEMS * 4; i += THREADS)
        b.x(0)[i] = b.x(1)[i] = in[b.rank * B * Cut::ITEMS * 4 + i];
    cluster_barrier();
    const long long begun = clock64();
    int wrong = 0;
    for (int e = 0; e < rounds; e++) {
        float *from = b.x(e), *got = b.got(e);
        if (b.id < B) from[4 * b.id * scatter * items] = e + b.rank;
        b.exchange(how, e, from, scatter * items, items, from, 0, 0);
        if (b.id < B && how != BARRIER) wrong |= got[4 * b.id * items] != e + b.id;
        if (scatter) b.add_up(got, b.own, -1e30f);
    }
    b.report(begun, wrong, clocks, flags);
    const int count = scatter ? Cut::ROWS * N : B * items * 4;
    for (int i = b.id; i < count; i += THREADS)
        out[b.rank * count + i] = scatter ? b.own[i] : b.got(rounds - 1)[i];
    cluster_barrier();
}

// One block's share: reps times x W1 (way 0) or a step down x' d (way 1).
template <int B> __device__ void share(int way, int tf32, int reps, float rate, const float *x,
                                       const float *W, const float *d, float *out,
                                       long long *clocks, int *flags) {
    using Cut = Block<B>;
    Cut b(0);
    for (int i = b.id; i < BATCH * Cut::COLUMNS; i += THREADS)
        b.x(0)[i / Cut::COLUMNS * Cut::S + i % Cut::COLUMNS] = x[i];
    for (int i = b.id; i < Cut::COLUMNS * HIDDEN; i += THREADS)
        b.W[i / HIDDEN * N + i % HIDDEN] = W[i];
    for (int i = b.id; i < BATCH * HIDDEN; i += THREADS)
        b.got(0)[i / HIDDEN * N + i % HIDDEN] = d[i];
    __syncthreads();
    const long long begun = clock64();
    for (int r = 0; r < reps; r++) {
        way ? b.descend(tf32, b.x(0), b.got(0), rate) : b.multiply(tf32, b.x(0));
        __syncthreads();
    }
    b.report(begun, 0, clocks, flags);
    for (int i = b.id; i < (way ? Cut::COLUMNS : BATCH) * HIDDEN; i += THREADS)
        out[i] = (way ? b.W : b.P)[i / HIDDEN * N + i % HIDDEN];
}

// Steps in one launch; images are bytes (batches, B, 100, S). out: (784, 50), then W2 (512).
template <int B> __device__ void train(int how, int tf32, int steps, float rate,
                                       const uchar4 *images, int batches, const float *W1,
                                       const float *W2, float *out, long long *clocks, int *flags) {
    using Cut = Block<B>;
    constexpr int WORDS = BATCH * Cut::S / 4, EACH = (WORDS + THREADS - 1) / THREADS;
    Cut b(cluster_rank());
    for (int i = b.id; i < Cut::COLUMNS * HIDDEN; i += THREADS)
        b.W[i / HIDDEN * N + i % HIDDEN] = W1[b.rank * Cut::COLUMNS * HIDDEN + i];
    if (b.id < 4 * Cut::MORE) b.W2[b.id] = W2[b.rank * 4 * Cut::MORE + b.id];
    uchar4 bytes[EACH];
    auto fetch = [&](int n) {
        for (int q = 0, i = b.id; q < EACH; q++, i += THREADS)
            if (i < WORDS) bytes[q] = images[(n % batches * B + b.rank) * WORDS + i];
    };
    auto keep = [&](float *x) {
        for (int q = 0, i = b.id; q < EACH; q++, i += THREADS)
            if (i < WORDS) reinterpret_cast<float4 *>(x)[i] = make_float4(
                bytes[q].x / 255.f, bytes[q].y / 255.f, bytes[q].z / 255.f, bytes[q].w / 255.f);
    };
    fetch(0), keep(b.x(0));
    cluster_barrier();
    const long long begun = clock64();
    for (int n = 0; n < steps; n++) {
        const float *x = b.x(n);
        fetch(n + 1);  // arrives while this step is under way
        __syncthreads();
        b.multiply(tf32, x);
        keep(b.x(n + 1));
        b.exchange(how, 2 * n, b.P, Cut::ITEMS, Cut::ITEMS, b.W2, 0, Cut::MORE);
        b.middle(b.got(0), b.more(0));
        b.exchange(how, 2 * n + 1, b.own, 0, Cut::ITEMS, b.dW2, Cut::MORE, Cut::MORE);
        for (int s = 0; b.id < 4 * Cut::MORE && s < B; s++)
            b.W2[b.id] -= rate * b.more(1)[s * 4 * Cut::MORE + b.id];
        b.descend(tf32, x, b.got(1), rate);
    }
    b.report(begun, 0, clocks, flags);
    for (int i = b.id; i < Cut::COLUMNS * HIDDEN; i += THREADS)
        out[b.rank * Cut::COLUMNS * HIDDEN + i] = b.W[i / HIDDEN * N + i % HIDDEN];
    if (b.id < 4 * Cut::MORE) out[784 * HIDDEN + b.rank * 4 * Cut::MORE + b.id] = b.W2[b.id];
    cluster_barrier();
}

// Every block holds 200 KB and reads what the next one wrote into its last bytes.
template <int B> __device__ void hold(float *out) {
    const int rank = cluster_rank();
    float4 *last = shared_memory() + 12799;
    if (threadIdx.x == 0) *last = make_float4(rank + .5f, 0, 0, 0);
    cluster_barrier();
    if (threadIdx.x == 0) out[rank] = load_peer(peer(address(last), (rank + 1) % B)).x;
    cluster_barrier();
}

#define KERNELS(B) \
    CLUSTER_KERNEL(B) hold_##B(float *out) { hold<B>(out); } \
    CLUSTER_KERNEL(B) swap_##B(int how, int scatter, int items, int rounds, const float *in, \
                               float *out, long long *clocks, int *flags) { \
        swap<B>(how, scatter, items, rounds, in, out, clocks, flags); \
    } \
    BLOCK_KERNEL share_##B(int way, int tf32, int reps, float rate, const float *x, \
                           const float *W, const float *d, float *out, long long *clocks, \
                           int *flags) { \
        share<B>(way, tf32, reps, rate, x, W, d, out, clocks, flags); \
    } \
    CLUSTER_KERNEL(B) train_##B(int how, int tf32, int steps, float rate, const uchar4 *images, \
                                int batches, const float *W1, const float *W2, float *out, \
                                long long *clocks, int *flags) { \
        train<B>(how, tf32, steps, rate, images, batches, W1, W2, out, clocks, flags); \
    }
KERNELS(8)
KERNELS(16)
