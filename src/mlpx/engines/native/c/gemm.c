/* Matrix products of our own, for float and double. */
#include <stdint.h>
#include <string.h>

#define TRANSPOSED 112
enum { TILE = 12, DEPTH = 256, WIDTH = 512, HEIGHT = 96 };

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define WIDE __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma")))

#define REAL float
#define NAME(x) x##_f32
#include "gemm.inc"
#undef REAL
#undef NAME

#define REAL double
#define NAME(x) x##_f64
#include "gemm.inc"

/* Whether this processor can run them. */
int32_t mlpx_gemm_usable(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
}
#else
int32_t mlpx_gemm_usable(void) { return 0; }
#endif
