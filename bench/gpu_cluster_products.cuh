// Products of a block of 512 threads from shared memory: what train and products in gpu_cluster.cu
// time. Rows of x have S columns, those of W and d have N; columns and rows past the last are 0.
#pragma once

constexpr int BATCH = 100, N = 52, THREADS = 512;

__device__ inline float4 rows(float4 a, const float4 (&b)[4], float4 s) {
    const float factor[4] = {a.x, a.y, a.z, a.w};
    #pragma unroll
    for (int k = 0; k < 4; k++) {
        s.x = fmaf(factor[k], b[k].x, s.x), s.y = fmaf(factor[k], b[k].y, s.y);
        s.z = fmaf(factor[k], b[k].z, s.z), s.w = fmaf(factor[k], b[k].w, s.w);
    }
    return s;
}

// put(i, j, values): x (100, S) W (S, 50) from column j on, each thread 4 x 4 of it.
template <int S, class Put> __device__ void forward(const float *x, const float *W, Put put) {
    const int i = threadIdx.x / 13 * 4, j = threadIdx.x % 13 * 4;
    if (i >= BATCH) return;
    float4 sum[4] = {};
    for (int k = 0; k < S; k += 4) {
        float4 b[4];
        #pragma unroll
        for (int n = 0; n < 4; n++) b[n] = *reinterpret_cast<const float4 *>(W + (k + n) * N + j);
        #pragma unroll
        for (int n = 0; n < 4; n++)
            sum[n] = rows(*reinterpret_cast<const float4 *>(x + (i + n) * S + k), b, sum[n]);
    }
    #pragma unroll
    for (int n = 0; n < 4; n++) put(i + n, j, sum[n]);
}

// put(i, j, values): x' (S, 100) d (100, 50); SPLIT groups of threads share the rows.
template <int S, int SPLIT, class Put>
__device__ void backward(const float *x, const float *d, float *scratch, Put put) {
    constexpr int TILES = S / 4 * 13, EACH = (BATCH + SPLIT - 1) / SPLIT;
    const int tile = threadIdx.x % TILES, group = threadIdx.x / TILES;
    const int i = tile / 13 * 4, j = tile % 13 * 4;
    float4 sum[4] = {};
    for (int k = group * EACH; group < SPLIT && k < min(BATCH, (group + 1) * EACH); k++) {
        const float4 a = *reinterpret_cast<const float4 *>(x + k * S + i);
        const float4 b = *reinterpret_cast<const float4 *>(d + k * N + j);
        const float factor[4] = {a.x, a.y, a.z, a.w};
        #pragma unroll
        for (int n = 0; n < 4; n++) {
            sum[n].x = fmaf(factor[n], b.x, sum[n].x), sum[n].y = fmaf(factor[n], b.y, sum[n].y);
            sum[n].z = fmaf(factor[n], b.z, sum[n].z), sum[n].w = fmaf(factor[n], b.w, sum[n].w);
        }
    }
    float4 *parts = reinterpret_cast<float4 *>(scratch) + tile;
    #pragma unroll
    for (int n = 0; n < 4; n++)
        if (group > 0 && group < SPLIT) parts[((group - 1) * 4 + n) * TILES] = sum[n];
    __syncthreads();
    #pragma unroll
    for (int n = 0; n < 4; n++) {
        if (group > 0) continue;
        for (int g = 0; g < SPLIT - 1; g++) {
            const float4 part = parts[(g * 4 + n) * TILES];
            sum[n].x += part.x, sum[n].y += part.y, sum[n].z += part.z, sum[n].w += part.w;
        }
        put(i + n, j, sum[n]);
    }
}

// put(i, j, values): a (16 M, 8 DEEP) b (8 DEEP, 50) by tensor cores, each factor the sum of two
// in TF32, without the product of the small ones. Row i, column k of a is a[i * AI + k * AK].
template <int M, int DEEP, int AI, int AK, class Put>
__device__ void tensor(const float *a, const float *b, Put put) {
    constexpr int TILES = 7, GROUPS = 16 / M, EACH = (TILES + GROUPS - 1) / GROUPS;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    const int i = warp % M * 16 + g, first = warp / M * EACH;
    float sum[EACH][4] = {};
    for (int step = 0; first < TILES && step < DEEP; step++) {
        const int k = step * 8 + t;
        unsigned large[4], small[4];
        #pragma unroll
        for (int q = 0; q < 4; q++) {
            const float v = a[(i + q % 2 * 8) * AI + (k + q / 2 * 4) * AK];
            large[q] = rounded(v), small[q] = rounded(v - __uint_as_float(large[q]));
        }
        #pragma unroll
        for (int n = 0; n < EACH; n++) {
            if (first + n >= TILES) continue;
            unsigned big[2], rest[2];
            #pragma unroll
            for (int q = 0; q < 2; q++) {
                const float v = b[(k + q * 4) * N + (first + n) * 8 + g];
                big[q] = rounded(v), rest[q] = rounded(v - __uint_as_float(big[q]));
            }
            mma(sum[n], small, big), mma(sum[n], large, rest), mma(sum[n], large, big);
        }
    }
    #pragma unroll
    for (int n = 0; n < EACH; n++) {
        const int j = (first + n) * 8 + t * 2;
        if (first + n >= TILES || j >= N) continue;
        put(i, j, make_float2(sum[n][0], sum[n][1]));
        put(i + 8, j, make_float2(sum[n][2], sum[n][3]));
    }
}
