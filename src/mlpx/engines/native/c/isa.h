/* The instruction set that a file of kernels is compiled for, chosen by ISA_AVX512, ISA_AVX2 or neither: its vectors,
 * how part of a vector is read and written, and the tiles of a product that fit in its registers.
 *
 * TILES(X): X(vectors, rows) for each width of a tile: up to that many rows of so many vectors are summed in registers,
 * beside one line of the other factor. A matrix of up to WIDEST vectors is one panel of tiles; a wider one is divided into
 * panels of at most USUAL. A single row is summed up to ROW_VECTORS vectors at a time. */
#include <stdint.h>
#include <string.h>

/* Before a loop. UNROLL: its rounds, n at most, one after the other, so that an array that it walks is in registers.
 * INDEPENDENT: no round reads what another writes; arrays are the same or apart. */
#define PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define UNROLL(n) PRAGMA(clang loop unroll(full))
#define INDEPENDENT PRAGMA(clang loop vectorize(assume_safety))
#else
#define UNROLL(n) PRAGMA(GCC unroll n)
#define INDEPENDENT PRAGMA(GCC ivdep)
#endif

#if defined(ISA_AVX512)
#include <immintrin.h>
#define ISA(x) x##_avx512
#define VECTOR_BYTES 64
#define TILES(X) X(4, 6) X(3, 8) X(2, 12) X(1, 12)
enum { WIDEST = 4, USUAL = 3, ROW_VECTORS = 16 };
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi,bmi2"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi,bmi2,prefer-vector-width=512")
#endif

typedef __mmask16 Part_f32;
typedef __mmask8 Part_f64;
static inline Part_f32 first_f32(int64_t n) { return (Part_f32)(n >= 16 ? 0xffff : (1u << n) - 1); }
static inline Part_f64 first_f64(int64_t n) { return (Part_f64)(n >= 8 ? 0xff : (1u << n) - 1); }
#define LOAD_PART_f32(p, part) _mm512_maskz_loadu_ps(part, p)
#define LOAD_PART_f64(p, part) _mm512_maskz_loadu_pd(part, p)
#define STORE_PART_f32(p, part, v) _mm512_mask_storeu_ps(p, part, (__m512)(v))
#define STORE_PART_f64(p, part, v) _mm512_mask_storeu_pd(p, part, (__m512d)(v))
#define SUM_f32(v) _mm512_reduce_add_ps((__m512)(v))
#define SUM_f64(v) _mm512_reduce_add_pd((__m512d)(v))
#define PICK_f32(a, lanes, b) _mm512_permutex2var_ps((__m512)(a), (__m512i)(lanes), (__m512)(b))
#define PICK_f64(a, lanes, b) _mm512_permutex2var_pd((__m512d)(a), (__m512i)(lanes), (__m512d)(b))

#elif defined(ISA_AVX2)
#include <immintrin.h>
#define ISA(x) x##_avx2
#define VECTOR_BYTES 32
#define TILES(X) X(3, 4) X(2, 6) X(1, 12)
enum { WIDEST = 3, USUAL = 2, ROW_VECTORS = 8 };
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi,bmi2"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c,bmi,bmi2")
#endif

typedef __m256i Part_f32, Part_f64;
static inline Part_f32 first_f32(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n > 8 ? 8 : (int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline Part_f64 first_f64(int64_t n) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
#define LOAD_PART_f32(p, part) _mm256_maskload_ps(p, part)
#define LOAD_PART_f64(p, part) _mm256_maskload_pd(p, part)
#define STORE_PART_f32(p, part, v) _mm256_maskstore_ps(p, part, (__m256)(v))
#define STORE_PART_f64(p, part, v) _mm256_maskstore_pd(p, part, (__m256d)(v))

#else
/* NEON on aarch64, SSE2 on x86-64, whatever the compiler makes of it elsewhere. */
#define ISA(x) x##_plain
#define VECTOR_BYTES 16
#if defined(__aarch64__)
#if !defined(__clang__)
#pragma GCC optimize("no-schedule-insns") /* which loads numbers early, and has no registers left for the sums */
#endif
#define TILES(X) X(4, 6) X(3, 8) X(2, 12) X(1, 12)
enum { WIDEST = 4, USUAL = 4, ROW_VECTORS = 16 };
#else
#define TILES(X) X(3, 4) X(2, 6) X(1, 12)
enum { WIDEST = 3, USUAL = 2, ROW_VECTORS = 8 };
#endif

typedef int64_t Part_f32, Part_f64;
static inline int64_t first_f32(int64_t n) { return n > 4 ? 4 : n; }
static inline int64_t first_f64(int64_t n) { return n > 2 ? 2 : n; }
#define LOAD_PART_f32(p, part) load_part_f32(p, part)
#define LOAD_PART_f64(p, part) load_part_f64(p, part)
#define STORE_PART_f32(p, part, v) store_part_f32(p, part, v)
#define STORE_PART_f64(p, part, v) store_part_f64(p, part, v)
#endif
