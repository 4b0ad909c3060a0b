/* The kernels for float and for double, from one text, and their table by name. */
#include <math.h>
#include <stddef.h>
#include <string.h>
#include "engine.h"

/* One function, compiled for several instruction sets; the loader picks what this processor has. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

/* The bytes of one number the other way round. */
static inline void swap_bytes(void *to, const void *from, size_t count) {
    for (size_t i = 0; i < count; i++) ((char *)to)[i] = ((const char *)from)[count - 1 - i];
}

/* What 16 bits mean as an IEEE half. */
static inline float half_value(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = bits >> 10 & 31, mantissa = bits & 0x3ff;
    union { uint32_t i; float x; } as;
    if (exponent == 0) {
        as.x = (float)mantissa * 0x1p-24f;
        as.i |= sign;
    } else {
        as.i = sign | (exponent == 31 ? 0x7f800000 : (exponent + 112) << 23) | mantissa << 13;
    }
    return as.x;
}

#define FN static inline __attribute__((always_inline, unused))
#define KERNEL(name) static void NAME(name)(const Op *op, const Where *at)

#define REAL float
#define IS_DOUBLE 0
#define NAME(x) x##_f32
#define SQRT(x) __builtin_sqrtf(x)
#define LOG(x) logf(x)
#define LOG1P(x) log1pf(x)
#define LARGEST 3.4028234663852886e38f
#define LOG_LARGEST 88.72283f
#include "../../formulas.h"
enum {
#define ACTIVATION(name, f, df) CODE_##name,
    MLPX_ACTIVATIONS(ACTIVATION)
#undef ACTIVATION
};
enum {
#define LOSS(name, value, slope) LOSS_##name,
    MLPX_LOSSES(LOSS)
#undef LOSS
};
#include "kernels.inc"
#undef REAL
#undef IS_DOUBLE
#undef NAME
#undef SQRT
#undef LOG
#undef LOG1P
#undef LARGEST
#undef LOG_LARGEST

#define REAL double
#define IS_DOUBLE 1
#define NAME(x) x##_f64
#define SQRT(x) __builtin_sqrt(x)
#define LOG(x) log(x)
#define LOG1P(x) log1p(x)
#define LARGEST 1.7976931348623157e308
#define LOG_LARGEST 709.782712893384
#include "../../formulas.h"
#include "kernels.inc"

#define BOTH(name) {#name ".float32", name##_f32}, {#name ".float64", name##_f64},
static const struct {
    const char *name;
    Kernel kernel;
} KERNELS[] = {
    BOTH(select_row) BOTH(gather) BOTH(out_of_range) BOTH(store) BOTH(copy) BOTH(scale) BOTH(affine) BOTH(affine_dx) BOTH(affine_dW)
    BOTH(column_sum) BOTH(activation) BOTH(activation_back) BOTH(correct) BOTH(likeliest) BOTH(softmax_loss)
    BOTH(column_loss) BOTH(clip_values) BOTH(sum_squares) BOTH(norm_factor) BOTH(scale_by)
    BOTH(add_decay) BOTH(add) BOTH(blend) BOTH(weigh) BOTH(weighted_mean) BOTH(record)
#define RULE(name, body) BOTH(rule_##name)
    MLPX_RULES(RULE)
#undef RULE
};

/* The kernel called `name` ("affine.float32"), NULL if there is none. */
Kernel mlpx_kernel(const char *name) {
    for (size_t i = 0; i < sizeof KERNELS / sizeof *KERNELS; i++)
        if (!strcmp(KERNELS[i].name, name)) return KERNELS[i].kernel;
    return NULL;
}

/* The code of an activation's formula, -1 if there is none. */
int32_t mlpx_activation(const char *name) {
#define ACTIVATION(formula, f, df) if (!strcmp(name, #formula)) return CODE_##formula;
    MLPX_ACTIVATIONS(ACTIVATION)
#undef ACTIVATION
    return -1;
}

/* The code of a loss's formula, -1 if there is none. */
int32_t mlpx_loss(const char *name) {
#define LOSS(formula, value, slope) if (!strcmp(name, #formula)) return LOSS_##formula;
    MLPX_LOSSES(LOSS)
#undef LOSS
    return -1;
}
