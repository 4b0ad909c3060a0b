/* Every scalar formula of mlpx, once, as C that compiles for the CPU and for CUDA.
 *
 * Include it once for each type, with these defined: REAL (float or double), NAME(x) (which gives x a suffix for
 * the type), FN (the qualifiers of a function: `static inline`, or `__device__ inline` too) and IS_DOUBLE (0 or 1).
 * Nothing branches, so a vectorising compiler turns each formula into straight-line SIMD code. NaN and infinity
 * come out as they do in src/mlpx/kernels, which has the same mathematics as arrays.
 */

/* ---- elementary functions ------------------------------------------------------------------------------- */

#ifdef __CUDACC__
FN REAL NAME(exp_)(REAL x) { return exp(x); }
FN REAL NAME(expm1_)(REAL x) { return expm1(x); }
FN REAL NAME(log1p_)(REAL u) { return log1p(u); }
FN REAL NAME(tanh_)(REAL x) { return tanh(x); }
FN REAL NAME(round_)(REAL x) { return rint(x); }
FN REAL NAME(abs_)(REAL x) { return fabs(x); }
#else

#if IS_DOUBLE
#define INTEGER int64_t
#define BITS uint64_t
#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1023
#define EXP_MOST 800
#define LOG2_HIGH 0.6931471803691238 /* log(2), its low 21 bits zero: n * LOG2_HIGH is exact */
#define LOG2_LOW 1.9082149292705877e-10 /* the rest of it */
FN double NAME(round_)(double x) { return __builtin_rint(x); }
#else
#define INTEGER int32_t
#define BITS uint32_t
#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127
#define EXP_MOST 110
#define LOG2_HIGH 0.69314575f
#define LOG2_LOW 1.4286068e-06f
FN float NAME(round_)(float x) { return __builtin_rintf(x); }
#endif

/* 2**n for n in the exponent's range, by its bits; anything for what a NaN became as an integer. */
FN REAL NAME(power_of_two)(INTEGER n) {
    union { BITS i; REAL x; } bits;
    bits.i = (BITS)(n + EXPONENT_BIAS) << MANTISSA_BITS;
    return bits.x;
}

/* exp(r) - 1 for |r| <= log(2) / 2: the Taylor series, nested. */
FN REAL NAME(expm1_small)(REAL r) {
#if IS_DOUBLE
    REAL p = (REAL)(1.0 / 6227020800.0);
    p = p * r + (REAL)(1.0 / 479001600.0);
    p = p * r + (REAL)(1.0 / 39916800.0);
    p = p * r + (REAL)(1.0 / 3628800.0);
    p = p * r + (REAL)(1.0 / 362880.0);
    p = p * r + (REAL)(1.0 / 40320.0);
    p = p * r + (REAL)(1.0 / 5040.0);
#else
    REAL p = (REAL)(1.0 / 5040.0);
#endif
    p = p * r + (REAL)(1.0 / 720.0);
    p = p * r + (REAL)(1.0 / 120.0);
    p = p * r + (REAL)(1.0 / 24.0);
    p = p * r + (REAL)(1.0 / 6.0);
    p = p * r + (REAL)0.5;
    return r + r * r * p;
}

/* x = n log(2) + r, with log(2) in two parts so that r keeps its digits. */
FN REAL NAME(reduce)(REAL x, REAL *n) {
    *n = NAME(round_)(x * (REAL)1.4426950408889634);
    REAL r = x - *n * LOG2_HIGH;
    return r - *n * LOG2_LOW;
}

/* exp(x), within 2 ULP; 0 and infinity beyond the range. */
FN REAL NAME(exp_)(REAL x) {
    x = x > EXP_MOST ? EXP_MOST : x;
    x = x < -EXP_MOST ? -EXP_MOST : x;
    REAL n, r = NAME(reduce)(x, &n);
    INTEGER whole = (INTEGER)n, half = whole >> 1;
    return (1 + NAME(expm1_small)(r)) * NAME(power_of_two)(half) * NAME(power_of_two)(whole - half);
}

/* exp(x) - 1 for x <= EXP_MOST / 2, within 3 ULP. */
FN REAL NAME(expm1_)(REAL x) {
    x = x < -EXP_MOST / 2 ? -EXP_MOST / 2 : x;
    REAL n, r = NAME(reduce)(x, &n);
    REAL scale = NAME(power_of_two)((INTEGER)n);
    return scale * NAME(expm1_small)(r) + (scale - 1);
}

/* log(1 + u) for u in [0, 1], as 2 atanh(u / (2 + u)). */
FN REAL NAME(log1p_)(REAL u) {
    REAL s = u / (2 + u), q = s * s;
#if IS_DOUBLE
    REAL p = (REAL)(1.0 / 35);
    p = p * q + (REAL)(1.0 / 33); p = p * q + (REAL)(1.0 / 31); p = p * q + (REAL)(1.0 / 29);
    p = p * q + (REAL)(1.0 / 27); p = p * q + (REAL)(1.0 / 25); p = p * q + (REAL)(1.0 / 23);
    p = p * q + (REAL)(1.0 / 21); p = p * q + (REAL)(1.0 / 19); p = p * q + (REAL)(1.0 / 17);
#else
    REAL p = (REAL)(1.0 / 17);
#endif
    p = p * q + (REAL)(1.0 / 15); p = p * q + (REAL)(1.0 / 13); p = p * q + (REAL)(1.0 / 11);
    p = p * q + (REAL)(1.0 / 9); p = p * q + (REAL)(1.0 / 7); p = p * q + (REAL)(1.0 / 5);
    p = p * q + (REAL)(1.0 / 3);
    return 2 * (s + s * q * p);
}

FN REAL NAME(abs_)(REAL x) { return x < 0 ? -x : x; }

FN REAL NAME(tanh_)(REAL x) {
    REAL a = NAME(abs_)(x);
    a = a > 20 ? 20 : a;
    REAL e = NAME(expm1_)(2 * a), y = e / (e + 2);
    return x < 0 ? -y : y;
}

#undef INTEGER
#undef BITS
#undef MANTISSA_BITS
#undef EXPONENT_BIAS
#undef EXP_MOST
#undef LOG2_HIGH
#undef LOG2_LOW
#endif

/* sin(2 pi s) for |s| <= 1/4: the Taylor series, nested. */
FN REAL NAME(sine_of_part)(REAL s) {
    REAL q = s * s;
#if IS_DOUBLE
    REAL p = (REAL)0.0011309237482517963;
    p = p * q + (REAL)-0.012031585942120627;
    p = p * q + (REAL)0.10422916220813984;
    p = p * q + (REAL)-0.7181223017785006;
#else
    REAL p = (REAL)-0.7181223017785006;
#endif
    p = p * q + (REAL)3.819952584848282;
    p = p * q + (REAL)-15.09464257682299;
    p = p * q + (REAL)42.058693944897655;
    p = p * q + (REAL)-76.70585975306139;
    p = p * q + (REAL)81.60524927607506;
    p = p * q + (REAL)-41.34170224039976;
    p = p * q + (REAL)6.283185307179586;
    return s * p;
}

/* cos(2 pi u) and sin(2 pi u), within 2 eps of 1 for |u| up to 1/2; whole turns, which are none, are taken off first.
 * What is left is a sine of at most a quarter, whose argument is exact, or as near as that of the cosine has to be. */
FN REAL NAME(cos_of_turns)(REAL u) {
    return NAME(sine_of_part)((REAL)0.25 - NAME(abs_)(u - NAME(round_)(u)));
}

FN REAL NAME(sin_of_turns)(REAL u) {
    REAL r = u - NAME(round_)(u), a = NAME(abs_)(r);
    REAL y = NAME(sine_of_part)(a > (REAL)0.25 ? (REAL)0.5 - a : a);
    return r < 0 ? -y : y;
}

/* ---- parts of formulas ------------------------------------------------------------------------------------ */

/* 1 / (1 + exp(-z)), exact in both tails. */
FN REAL NAME(logistic)(REAL z) {
    REAL e = NAME(exp_)(z < 0 ? z : -z);
    return (z < 0 ? e : 1) / (1 + e);
}

/* log(1 + exp(z)), exact in both tails. */
FN REAL NAME(softplus_)(REAL z) {
    return (z < 0 ? 0 : z) + NAME(log1p_)(NAME(exp_)(z < 0 ? z : -z));
}

/* min(max(x, low), high); NaN stays. */
FN REAL NAME(clip)(REAL x, REAL low, REAL high) {
    x = x < low ? low : x;
    return x > high ? high : x;
}

/* x times a gate that is 0 where x is -infinity. */
FN REAL NAME(gated)(REAL x, REAL gate) { return (x < -LARGEST ? -LARGEST : x) * gate; }

/* s + bend s (1 - s) with s = logistic(u); bend must be finite. */
FN REAL NAME(logistic_slope)(REAL u, REAL bend) {
    REAL e = NAME(exp_)(u < 0 ? u : -u), far = e / (1 + e);
    return (u < 0 ? far : 1 - far) + bend * far / (1 + e);
}

/* exp(-t**2 / 2) for 0 <= t <= 40: t in two parts, so that the square of the large one is exact. */
FN REAL NAME(gauss)(REAL t) {
    REAL head = NAME(round_)(t * 256) / 256;
    return NAME(exp_)((t - head) * (t + head) * (REAL)-0.5) * NAME(exp_)(head * head * (REAL)-0.5);
}

/* exp(t**2 / 2) Phi(-t) for 0 <= t <= 41; coefficients as in kernels/special.py. */
FN REAL NAME(scaled_tail)(REAL t) {
    REAL q = (t - 4) / (t + 4);
#if IS_DOUBLE
    REAL p = (REAL)-1.0309052436878754e-09;
    p = p * q + (REAL)-8.686980554268536e-11; p = p * q + (REAL)1.4030296306013629e-08;
    p = p * q + (REAL)1.5090706607691905e-08; p = p * q + (REAL)-7.632657597907755e-08;
    p = p * q + (REAL)-1.549613682331752e-07; p = p * q + (REAL)2.634238358871633e-07;
    p = p * q + (REAL)1.0203320358669732e-06; p = p * q + (REAL)-6.248641912476275e-07;
    p = p * q + (REAL)-5.9191338397111225e-06; p = p * q + (REAL)7.148623784787131e-07;
    p = p * q + (REAL)3.514424980284119e-05; p = p * q + (REAL)-1.9078218749462897e-06;
    p = p * q + (REAL)-0.00023109483036974884; p = p * q + (REAL)0.00013334424578568974;
    p = p * q + (REAL)0.001630818443138801; p = p * q + (REAL)-0.0034796923613852155;
    p = p * q + (REAL)-0.007540188965662802; p = p * q + (REAL)0.060396574890654635;
    p = p * q + (REAL)-0.1865218579596924; p = p * q + (REAL)0.3871374007422198;
    p = p * q + (REAL)-0.6078966419718917; p = p * q + (REAL)0.7552851304157515;
#else
    REAL p = (REAL)-0.0001610325579;
    p = p * q + (REAL)0.0001274373171; p = p * q + (REAL)0.001571077069; p = p * q + (REAL)-0.003472982741;
    p = p * q + (REAL)-0.007516952806; p = p * q + (REAL)0.06039365974; p = p * q + (REAL)-0.1865255879;
    p = p * q + (REAL)0.3871378241; p = p * q + (REAL)-0.6078964755; p = p * q + (REAL)0.7552851209;
#endif
    return p / (t + 4);
}

/* sqrt(8 / pi) (1 + curve t**2). */
FN REAL NAME(steepness)(REAL t, REAL curve) {
    return (REAL)1.5957691216057308 * (1 + curve * t * t);
}

FN REAL NAME(gelu_)(REAL z) {
    REAL t = NAME(abs_)(z);
    t = t > 40 ? 40 : t;
    REAL tail = NAME(scaled_tail)(t) * NAME(gauss)(t);
    return NAME(gated)(z, z < 0 ? tail : 1 - tail);
}

FN REAL NAME(gelu_slope)(REAL z) {
    REAL t = NAME(abs_)(z);
    t = t > 40 ? 40 : t;
    REAL left = (NAME(scaled_tail)(t) - t * (REAL)0.3989422804014327) * NAME(gauss)(t);
    return z < 0 ? left : 1 - left;
}

FN REAL NAME(gelu_tanh_)(REAL z) {
    REAL t = NAME(abs_)(z);
    t = t > 40 ? 40 : t;
    REAL u = t * NAME(steepness)(t, (REAL)0.044715);
    return NAME(gated)(z, NAME(logistic)(z < 0 ? -u : u));
}

FN REAL NAME(gelu_tanh_slope)(REAL z) {
    REAL t = NAME(abs_)(z);
    t = t > 40 ? 40 : t;
    REAL u = t * NAME(steepness)(t, (REAL)0.044715);
    REAL bend = NAME(clip)(z, -40, 40) * NAME(steepness)(t, 3 * (REAL)0.044715);
    return NAME(logistic_slope)(z < 0 ? -u : u, bend);
}

/* tanh(softplus(z)), and z times its derivative too if `bend`. */
FN REAL NAME(mish_gate)(REAL z, int bend) {
    REAL e = NAME(exp_)(z < 0 ? z : -z), square = e * e;
    REAL top = (z < 0 ? square : 1) + 2 * e, bottom = top + 2 * (z < 0 ? 1 : square);
    REAL slope = 4 * (z < 0 ? e : square) * NAME(clip)(z, -10000, 10000) * (1 + e) / bottom / bottom;
    return top / bottom + (bend ? slope : 0);
}

FN REAL NAME(sign)(REAL x) { return x > 0 ? 1 : (x < 0 ? -1 : x); }

/* ---- activations -------------------------------------------------------------------------------------------
 * ACTIVATION(name, f, df): f of the input z; its derivative of k, the input or the output as the record keeps;
 * c[] holds the record's fields in their order.
 */
#define SELU_SCALE (REAL)1.0507009873554804934
#define SELU_LIMIT (REAL)1.7580993408473768599 /* scale alpha */
#define MLPX_ACTIVATIONS(ACTIVATION)                                                                     \
    ACTIVATION(identity, z, 1)                                                                           \
    ACTIVATION(sigmoid, NAME(logistic)(z), k * (1 - k))                                                  \
    ACTIVATION(hard_sigmoid, NAME(clip)(z + 3, 0, 6) / 6, k > 0 && k < 1 ? (REAL)1 / 6 : 0)              \
    ACTIVATION(tanh, NAME(tanh_)(z), (1 - k) * (1 + k))                                                  \
    ACTIVATION(relu, z < 0 ? 0 : z, k > 0 ? 1 : 0)                                                       \
    ACTIVATION(relu6, NAME(clip)(z, 0, 6), k > 0 && k < 6 ? 1 : 0)                                       \
    ACTIVATION(leaky_relu, z < 0 ? (c[0] == 0 ? 0 : c[0] * z) : z, k > 0 ? 1 : c[0])                     \
    ACTIVATION(elu, z > 0 ? z : c[0] * NAME(expm1_)(z), k > 0 ? 1 : k + c[0])                            \
    ACTIVATION(selu, z > 0 ? SELU_SCALE * z : SELU_LIMIT * NAME(expm1_)(z),                              \
               k > 0 ? SELU_SCALE : k + SELU_LIMIT)                                                      \
    ACTIVATION(celu, z > 0 ? z : c[0] * NAME(expm1_)(NAME(clip)(z, -100 * c[0], 0) / c[0]),              \
               k > 0 ? 1 : 1 + k / c[0])                                                                 \
    ACTIVATION(softplus, NAME(softplus_)(z), -NAME(expm1_)(-k))                                          \
    ACTIVATION(softsign, NAME(clip)(z, -LARGEST, LARGEST) / (1 + NAME(abs_)(NAME(clip)(z, -LARGEST, LARGEST))), \
               (1 - NAME(abs_)(k)) * (1 - NAME(abs_)(k)))                                                \
    ACTIVATION(silu, NAME(gated)(z, NAME(logistic)(z)), NAME(logistic_slope)(k, NAME(clip)(k, -10000, 10000))) \
    ACTIVATION(gelu, NAME(gelu_)(z), NAME(gelu_slope)(k))                                                \
    ACTIVATION(gelu_tanh, NAME(gelu_tanh_)(z), NAME(gelu_tanh_slope)(k))                                 \
    ACTIVATION(mish, NAME(gated)(z, NAME(mish_gate)(z, 0)), NAME(mish_gate)(k, 1))

#define ACTIVATION(name, f, df)                                                         \
    FN REAL NAME(name##_f)(REAL z, const REAL *c) { (void)c; return f; }                \
    FN REAL NAME(name##_df)(REAL k, const REAL *c) { (void)c; (void)k; return df; }
MLPX_ACTIVATIONS(ACTIVATION)
#undef ACTIVATION

/* ---- losses of each output by itself -----------------------------------------------------------------------
 * LOSS(name, value, slope) of the output z and the target t; q[] holds the column's constants, c[] the fields.
 */
#define MLPX_LOSSES(LOSS)                                                                                \
    LOSS(mean_squared_error, (z - t) * (z - t), 2 * (z - t))                                             \
    LOSS(half_squared_error, (REAL)0.5 * (z - t) * (z - t), z - t)                                       \
    LOSS(mean_absolute_error, NAME(abs_)(z - t), NAME(sign)(z - t))                                      \
    LOSS(huber, NAME(huber_)(NAME(abs_)(z - t), c[0]), NAME(clip)(z - t, -c[0], c[0]))                   \
    LOSS(log_cosh, NAME(log_cosh_)(NAME(abs_)(z - t)), NAME(tanh_)(z - t))                               \
    LOSS(poisson, NAME(exp_)(z) - t * (z > LOG_LARGEST ? LOG_LARGEST : z), NAME(exp_)(z) - t)            \
    LOSS(quantile, (t - z) * (t - z > 0 ? q[0] : q[1]), (REAL)0.5 * NAME(sign)(z - t) + q[2])            \
    LOSS(binary_cross_entropy, (1 - t) * NAME(softplus_)(z) + q[0] * t * NAME(softplus_)(-z),            \
         (1 - t) * NAME(logistic)(z) - q[0] * t * NAME(logistic)(-z))                                    \
    LOSS(binary_focal, c[2] * (1 - t) * NAME(focal)(z, c[0]) + c[1] * t * NAME(focal)(-z, c[0]),         \
         c[2] * (1 - t) * NAME(focal_slope)(z, c[0]) - c[1] * t * NAME(focal_slope)(-z, c[0]))           \
    LOSS(hinge, NAME(shortfall)(z, t), NAME(shortfall)(z, t) > 0 ? 1 - 2 * t : 0 * z)                    \
    LOSS(squared_hinge, NAME(shortfall)(z, t) * NAME(shortfall)(z, t),                                   \
         -2 * (2 * t - 1) * NAME(shortfall)(z, t))

FN REAL NAME(huber_)(REAL e, REAL delta) {
    REAL inner = e > delta ? delta : e;
    return inner * (e - inner / 2);
}

/* log(cosh(e)) for e >= 0, by cosh(e) = 1 + u**2 / (2 (1 + u)) with u = exp(e) - 1; straight from 20 on. */
FN REAL NAME(log_cosh_)(REAL e) {
    REAL inner = e > 20 ? 20 : e, u = NAME(expm1_)(inner);
    return (e - inner) + LOG1P(u * u / (2 * (1 + u)));
}

/* s(z)**gamma softplus(z) with the logistic s, and its derivative. */
FN REAL NAME(focal)(REAL z, REAL gamma) { return POW(NAME(logistic)(z), gamma) * NAME(softplus_)(z); }

FN REAL NAME(focal_slope)(REAL z, REAL gamma) {
    REAL p = NAME(logistic)(z);
    return (NAME(softplus_)(z) * NAME(logistic)(-z) * gamma + p) * POW(p, gamma);
}

/* max(0, 1 - s z) with s = 2 t - 1. */
FN REAL NAME(shortfall)(REAL z, REAL t) {
    REAL gap = 1 - (2 * t - 1) * z;
    return gap < 0 ? 0 : gap;
}

#define LOSS(name, value, slope)                                                                         \
    FN REAL NAME(name##_value)(REAL z, REAL t, const REAL *c, const REAL *q) {                           \
        (void)c; (void)q; return value;                                                                  \
    }                                                                                                    \
    FN REAL NAME(name##_slope)(REAL z, REAL t, const REAL *c, const REAL *q) {                           \
        (void)c; (void)q; return slope;                                                                  \
    }
MLPX_LOSSES(LOSS)
#undef LOSS

/* ---- optimizer rules ---------------------------------------------------------------------------------------
 * RULE(name, body): one element's step, on the parameter *p with gradient g and moments *m0 *m1 *m2; s[] holds
 * this step's scalars, c[] the fields that engines/lowering/updates.py names, and o[] 1 - c[], taken before rounding:
 * 1 - 0.999f is 0.001 to five digits only.
 */
#define SMOOTH(m, i, x) *m = c[i] * *m + o[i] * (x)
#define MLPX_RULES(RULE)                                                                                 \
    RULE(sgd, { *p -= s[0] * g; })                                                                       \
    RULE(momentum, {                                                                                     \
        *m0 = c[0] * *m0 + (c[1] != 0 ? s[1] : 1) * g;                                                   \
        *p -= s[0] * *m0;                                                                                \
    })                                                                                                   \
    RULE(nesterov, {                                                                                     \
        *m0 = c[0] * *m0 + g;                                                                            \
        *p -= s[0] * (g + c[0] * *m0);                                                                   \
    })                                                                                                   \
    RULE(adagrad, {                                                                                      \
        *m0 += g * g;                                                                                    \
        *p -= s[0] * g / (SQRT(*m0) + c[0]);                                                             \
    })                                                                                                   \
    RULE(rmsprop, {                                                                                      \
        SMOOTH(m0, 0, g * g);                                                                         \
        *p -= s[0] * (g / (SQRT(*m0) + c[1]));                                                           \
    })                                                                                                   \
    RULE(rmsprop_momentum, {                                                                             \
        SMOOTH(m0, 0, g * g);                                                                         \
        *m2 = c[2] * *m2 + g / (SQRT(*m0) + c[1]);                                                       \
        *p -= s[0] * *m2;                                                                                \
    })                                                                                                   \
    RULE(rmsprop_centered, {                                                                             \
        SMOOTH(m0, 0, g * g);                                                                         \
        SMOOTH(m1, 0, g);                                                                             \
        REAL spread = *m0 - *m1 * *m1;                                                                   \
        *p -= s[0] * (g / (SQRT(spread < 0 ? 0 : spread) + c[1]));                                       \
    })                                                                                                   \
    RULE(rmsprop_centered_momentum, {                                                                    \
        SMOOTH(m0, 0, g * g);                                                                         \
        SMOOTH(m1, 0, g);                                                                             \
        REAL spread = *m0 - *m1 * *m1;                                                                   \
        *m2 = c[2] * *m2 + g / (SQRT(spread < 0 ? 0 : spread) + c[1]);                                   \
        *p -= s[0] * *m2;                                                                                \
    })                                                                                                   \
    RULE(adadelta, {                                                                                     \
        SMOOTH(m0, 0, g * g);                                                                         \
        REAL change = SQRT((*m1 + c[1]) / (*m0 + c[1])) * g;                                             \
        SMOOTH(m1, 0, change * change);                                                               \
        *p -= s[0] * change;                                                                             \
    })                                                                                                   \
    RULE(adam, {                                                                                         \
        SMOOTH(m0, 0, g);                                                                             \
        SMOOTH(m1, 1, g * g);                                                                         \
        *p -= s[0] * (*m0 / (SQRT(*m1) + s[1]));                                                         \
    })                                                                                                   \
    RULE(amsgrad, {                                                                                      \
        SMOOTH(m0, 0, g);                                                                             \
        SMOOTH(m1, 1, g * g);                                                                         \
        *m2 = *m1 > *m2 ? *m1 : *m2;                                                                     \
        *p -= s[0] * (*m0 / (SQRT(*m2) + s[1]));                                                         \
    })                                                                                                   \
    RULE(nadam, {                                                                                        \
        SMOOTH(m0, 0, g);                                                                             \
        SMOOTH(m1, 1, g * g);                                                                         \
        REAL size = SQRT(*m1) + s[2];                                                                    \
        *p -= (s[0] * *m0) / size;                                                                       \
        *p -= (s[1] * g) / size;                                                                         \
    })                                                                                                   \
    RULE(radam, {                                                                                        \
        SMOOTH(m0, 0, g);                                                                             \
        SMOOTH(m1, 1, g * g);                                                                         \
        *p -= *m0 * (s[1] / (SQRT(*m1) + c[2]) + s[0]);                                                  \
    })                                                                                                   \
    RULE(adamax, {                                                                                       \
        SMOOTH(m0, 0, g);                                                                             \
        REAL largest = c[1] * *m1;                                                                       \
        REAL size = NAME(abs_)(g);                                                                       \
        *m1 = largest > size ? largest : size;                                                           \
        *p -= s[0] * (*m0 / (*m1 + c[2]));                                                               \
    })                                                                                                   \
    RULE(lion, {                                                                                         \
        *p -= s[0] * NAME(sign)(c[0] * *m0 + o[0] * g);                                                  \
        SMOOTH(m0, 1, g);                                                                             \
    })
