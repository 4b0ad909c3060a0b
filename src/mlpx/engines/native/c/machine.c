/* What a processor can do at most: fused multiply-adds and bytes a second, with its widest vectors.
   Each thread measures itself between two moments that all of them are given, so that the sum of
   their rates is the rate of all at a time. */
#include <stdint.h>
#include <time.h>

/* Numbers and rounds between two looks at the clock: some microseconds. */
enum { BLOCK = 1 << 13, STRETCH = 1 << 12 };

static double opaque(double value) {
    volatile double hidden = value; /* the compiler knows no sum beforehand */
    return hidden;
}

static volatile double sink; /* and leaves none out */

#define NAME(x) x##_plain
#define TARGET
#define WIDTH 16
#if defined(__aarch64__)
#define CHAINS 16
#else
#define CHAINS 12
#endif
#include "machine.inc"

#if defined(__x86_64__)
#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define WIDTH 32
#define CHAINS 12
#include "machine.inc"

#define NAME(x) x##_avx512
#define TARGET __attribute__((target("avx512f,fma")))
#define WIDTH 64
#define CHAINS 16
#include "machine.inc"
#endif

typedef struct {
    const char *name;
    int width, chains; /* of FUSED: bytes of a vector, sums under way */
    double (*fused_f32)(int64_t), (*fused_f64)(int64_t);
    double (*read)(const double *, int64_t);
    void (*triad)(double *, const double *, const double *, int64_t);
} Isa;

#define ISA(set, width, chains) \
    {#set, width, chains, fused_f32_##set, fused_f64_##set, read_##set, triad_##set}

static const Isa *widest(void) {
#if defined(__x86_64__)
    static const Isa avx512 = ISA(avx512, 64, 16), avx2 = ISA(avx2, 32, 12);
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) return &avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &avx2;
#endif
#if defined(__aarch64__)
    static const Isa plain = ISA(plain, 16, 16);
#else
    static const Isa plain = ISA(plain, 16, 12);
#endif
    return &plain;
}

/* CLOCK_MONOTONIC in seconds, as Python's time.monotonic(). */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

/* Run `work`, which does `amount`, again and again between two moments; returns amount a second. */
#define RATE(start_s, stop_s, amount, work)                \
    do {                                                    \
        double began_s = now(), done = 0, seen_s;            \
        while (began_s < (start_s)) began_s = now();          \
        do {                                                   \
            work;                                               \
            done += (amount);                                    \
            seen_s = now();                                       \
        } while (seen_s < (stop_s));                               \
        return done / (seen_s - began_s);                           \
    } while (0)

const char *mlpx_machine_isa(void) { return widest()->name; }

/* Floating-point operations a second of fused multiply-adds, two each. */
double mlpx_fma_rate(int32_t is_double, double start_s, double stop_s) {
    const Isa *isa = widest();
    double (*fused)(int64_t) = is_double ? isa->fused_f64 : isa->fused_f32;
    double flops = 2.0 * STRETCH * isa->chains * (isa->width / (is_double ? 8 : 4));
    RATE(start_s, stop_s, flops, sink = fused(STRETCH));
}

/* Bytes read a second from `count` numbers, a multiple of 8192, over and over. */
double mlpx_read_rate(const double *from, int64_t count, double start_s, double stop_s) {
    const Isa *isa = widest();
    int64_t at = 0;
    RATE(start_s, stop_s, 8.0 * BLOCK,
         sink = isa->read(from + at, BLOCK); at = at + BLOCK < count ? at + BLOCK : 0);
}

/* Bytes read and written a second by to = a + 0.5 b, of `count` numbers each, a multiple of 8192;
   what a cache reads in order to be written to does not count (as in STREAM). */
double mlpx_triad_rate(double *to, const double *a, const double *b, int64_t count, double start_s,
                       double stop_s) {
    const Isa *isa = widest();
    int64_t at = 0;
    RATE(start_s, stop_s, 24.0 * BLOCK,
         isa->triad(to + at, a + at, b + at, BLOCK); at = at + BLOCK < count ? at + BLOCK : 0);
}
