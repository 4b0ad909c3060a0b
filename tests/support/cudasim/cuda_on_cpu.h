/* What a .cu file takes from CUDA, for g++: one block at a time, its threads as fibers (simulator.cpp). */
#ifndef CUDA_ON_CPU_H
#define CUDA_ON_CPU_H

#include <cmath>
#include <cstring>

using std::cos, std::exp, std::expm1, std::fabs, std::log, std::log1p, std::pow, std::rint, std::sin, std::sqrt, std::tanh;

#define __CUDACC__ 1 /* formulas.h then takes the functions of CUDA */
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(threads)
#define __shared__
#define __align__(bytes)

struct alignas(16) float4 {
    float x, y, z, w;
};
struct Index {
    unsigned x, y, z;
};
extern Index threadIdx, blockIdx, blockDim, gridDim;

/* Waits for the whole block, or for the warp; `where` tells one barrier of the source from another. */
void wait_for_block(const void *where);
void wait_for_warp(const void *where);
/* A place for each lane's value in the exchange that is under way; two take turns. */
void *exchange_slot(int lane, bool next);
void check_mask(unsigned mask);
int block_votes(int vote, const void *where);

#define HERE ({ static const char here = 0; (const void *)&here; })
#define __syncthreads() wait_for_block(HERE)
#define __syncwarp() wait_for_warp(HERE)
#define __syncthreads_or(vote) block_votes(vote, HERE)
#define __shfl_xor_sync(mask, value, apart) shuffle(mask, value, (int)(threadIdx.x % 32) ^ (apart), HERE)

template <class T> T shuffle(unsigned mask, T value, int from, const void *where) {
    check_mask(mask);
    T found;
    std::memcpy(exchange_slot(threadIdx.x % 32, true), &value, sizeof value);
    wait_for_warp(where);
    std::memcpy(&found, exchange_slot(from, false), sizeof found);
    return found;
}

inline void __threadfence() {}
inline unsigned atomicAdd(unsigned *to, unsigned value) {
    unsigned before = *to;
    *to += value;
    return before;
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
inline int __float_as_int(float x) {
    int bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}
inline float __int_as_float(int bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

#endif
