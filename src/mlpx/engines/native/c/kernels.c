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

/* The bytes of one number in reverse order. */
static inline void swap_bytes(void *to, const void *from, size_t count) {
    for (size_t i = 0; i < count; i++) ((char *)to)[i] = ((const char *)from)[count - 1 - i];
}

/* The value of 16 bits as an IEEE half. */
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

/* Philox4x64-10 of the block, at this step: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 * n[2], n[3] and n[4] are the seed, the purpose and the item of the stream. */
static void philox(uint64_t block, const Op *op, const Where *at, uint64_t words[4]) {
    uint64_t c[4] = {block, (uint64_t)at->step, 0, (uint64_t)op->n[4]};
    uint64_t key[2] = {(uint64_t)op->n[2], (uint64_t)op->n[3]};
    for (int i = 0; i < 10; i++) {
        unsigned __int128 first = (unsigned __int128)c[0] * 0xD2E7470EE14C6C93u;
        unsigned __int128 second = (unsigned __int128)c[2] * 0xCA5A826395121157u;
        uint64_t next[4] = {(uint64_t)(second >> 64) ^ c[1] ^ key[0], (uint64_t)second,
                            (uint64_t)(first >> 64) ^ c[3] ^ key[1], (uint64_t)first};
        memcpy(c, next, sizeof c);
        key[0] += 0x9E3779B97F4A7C15u;
        key[1] += 0xBB67AE8584CAA73Bu;
    }
    memcpy(words, c, sizeof c);
}

/* A tile of a gradient that stays in the cache together with what the rule reads and writes for it. */
#define TILE_BYTES (1 << 18)
#define MOST_COLUMNS 4096

#define FN static inline __attribute__((always_inline, unused))
#define KERNEL(name) static void NAME(name)(const Op *op, const Where *at)

#define REAL float
#define IS_DOUBLE 0
#define NAME(x) x##_f32
#define SQRT(x) __builtin_sqrtf(x)
#define LOG(x) logf(x)
#define LOG1P(x) log1pf(x)
#define POW(x, y) powf(x, y)
#define SIN(x) sinf(x)
#define COS(x) cosf(x)
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
#include "losses.inc"
#include "layers.inc"
#include "updates.inc"
#undef COLUMN_BLOCKS
#undef REAL
#undef IS_DOUBLE
#undef NAME
#undef SQRT
#undef LOG
#undef LOG1P
#undef POW
#undef SIN
#undef COS
#undef LARGEST
#undef LOG_LARGEST

#define REAL double
#define IS_DOUBLE 1
#define NAME(x) x##_f64
#define SQRT(x) __builtin_sqrt(x)
#define LOG(x) log(x)
#define LOG1P(x) log1p(x)
#define POW(x, y) pow(x, y)
#define SIN(x) sin(x)
#define COS(x) cos(x)
#define LARGEST 1.7976931348623157e308
#define LOG_LARGEST 709.782712893384
#include "../../formulas.h"
#include "kernels.inc"
#include "losses.inc"
#include "layers.inc"
#include "updates.inc"

#define BOTH(name) {#name ".float32", name##_f32}, {#name ".float64", name##_f64},
static const struct {
    const char *name;
    Kernel kernel;
} KERNELS[] = {
    BOTH(gather) BOTH(out_of_range) BOTH(store) BOTH(copy) BOTH(scale) BOTH(affine) BOTH(affine_from) BOTH(affine_dx) BOTH(affine_dW)
    BOTH(column_sum) BOTH(activation) BOTH(activation_back) BOTH(correct) BOTH(likeliest) BOTH(softmax_loss)
    BOTH(column_loss) BOTH(clip_values) BOTH(sum_squares) BOTH(norm_factor) BOTH(scale_by)
    BOTH(affine_dW_descend) BOTH(affine_dW_update) BOTH(column_sum_descend)
    BOTH(affine_dW_part) BOTH(column_sum_part) BOTH(sum_parts)
    BOTH(targets) BOTH(repeat) BOTH(all_correct) BOTH(kl_loss) BOTH(focal_loss)
    BOTH(sum) BOTH(product) BOTH(alpha_dropout) BOTH(mask) BOTH(normals) BOTH(standardise_rows) BOTH(unit_rows)
    BOTH(standardise_rows_back) BOTH(standardise_columns) BOTH(standardise_columns_back) BOTH(scale_shift)
    BOTH(scale_shift_sums) BOTH(track) BOTH(apply_running) BOTH(prelu) BOTH(prelu_back) BOTH(prelu_slope)
    BOTH(softmax) BOTH(softmax_back) BOTH(penalty) BOTH(penalty_gradient) BOTH(limit_norms) BOTH(norm)
    BOTH(sum_lines) BOTH(lamb_direction) BOTH(trust_ratio) BOTH(descend) BOTH(muon_direction) BOTH(shrink) BOTH(matrix_product)
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
