/* Which instruction set the kernels are taken from. */
#include <string.h>
#include "engine.h"

Kernel mlpx_kernel_plain(const char *name);
#if defined(__x86_64__)
Kernel mlpx_kernel_avx512(const char *name);
Kernel mlpx_kernel_avx2(const char *name);
#endif

typedef struct {
    const char *name;
    Kernel (*kernel)(const char *);
    int usable;
} Set;

/* The sets of kernels, best first; returns how many there are. */
static int sets(Set all[3]) {
    int count = 0;
#if defined(__x86_64__)
    int wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
    all[count++] = (Set){"avx512", mlpx_kernel_avx512, wide};
    all[count++] = (Set){"avx2", mlpx_kernel_avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")};
#endif
#if defined(__aarch64__)
    all[count++] = (Set){"neon", mlpx_kernel_plain, 1};
#else
    all[count++] = (Set){"plain", mlpx_kernel_plain, 1};
#endif
    return count;
}

/* The name of the i-th instruction set that this processor has, best first; NULL where there are no more. */
const char *mlpx_isa(int32_t i) {
    Set all[3];
    for (int s = 0, count = sets(all); s < count; s++)
        if (all[s].usable && i-- == 0) return all[s].name;
    return NULL;
}

/* Whether an instruction set has products of factors rounded to bfloat16 on this processor. */
int32_t mlpx_has_half(const char *isa) {
#if defined(__x86_64__)
    return !strcmp(isa, "avx512") && __builtin_cpu_supports("avx512bf16");
#else
    (void)isa;
    return 0;
#endif
}

/* The kernel called `name` ("affine.float32") for an instruction set, NULL if there is none. */
Kernel mlpx_kernel(const char *isa, const char *name) {
    Set all[3];
    for (int s = 0, count = sets(all); s < count; s++)
        if (all[s].usable && !strcmp(all[s].name, isa)) return all[s].kernel(name);
    return NULL;
}
