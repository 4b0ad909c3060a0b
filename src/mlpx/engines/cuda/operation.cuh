/* What every kernel is given, how its work is divided among threads, and the scalar formulas.
 *
 * A kernel runs the operation of its name: engines/lowering/fields.py names what n, c and p hold, and so does the
 * comment above each. It is a template over the type of the numbers; KERNEL makes name_float32 and name_float64 of
 * it. `state` is on the device: the position in the epoch's tables, and the steps taken since the first epoch.
 */
#ifndef MLPX_OPERATION_CUH
#define MLPX_OPERATION_CUH

struct Operation {
    long long n[8]; /* sizes and strides */
    double c[8];    /* constants */
    void *p[12];    /* arrays; the last is room for sums over many blocks, see sums.cuh */
};

#define FN static __device__ __forceinline__
#define THREADS 256 /* of every block */

namespace mlpx {

/* ---- formulas.h: functions of one name for float and for double, chosen by their arguments ---- */
#define NAME(x) x
#define SQRT(x) sqrt(x)
#define LOG(x) log(x)
#define LOG1P(x) log1p(x)
#define POW(x, y) pow(x, y)

#define REAL float
#define IS_DOUBLE 0
#define LARGEST 3.4028234663852886e38f
#define LOG_LARGEST 88.72283f
#include "../formulas.h"
#undef REAL
#undef IS_DOUBLE
#undef LARGEST
#undef LOG_LARGEST

#define REAL double
#define IS_DOUBLE 1
#define LARGEST 1.7976931348623157e308
#define LOG_LARGEST 709.782712893384
#include "../formulas.h"
#undef REAL
#undef IS_DOUBLE
#undef LARGEST
#undef LOG_LARGEST

enum {
#define ACTIVATION(name, f, df) ACTIVATION_##name,
    MLPX_ACTIVATIONS(ACTIVATION)
#undef ACTIVATION
};
enum {
#define LOSS(name, value, slope) LOSS_##name,
    MLPX_LOSSES(LOSS)
#undef LOSS
};

template <class Real> struct Limits;
template <> struct Limits<float> {
    static constexpr float largest = 3.4028234663852886e38f, tiny = 1.17549435e-38f, epsilon = 1.1920929e-07f;
};
template <> struct Limits<double> {
    static constexpr double largest = 1.7976931348623157e308, tiny = 2.2250738585072014e-308,
                            epsilon = 2.220446049250313e-16;
};

/* Eight constants of an operation as numbers of the kernel's type, or 1 less each, taken before rounding. */
template <class Real> struct Constants {
    Real c[8];
    __device__ __forceinline__ Constants(const Operation &op, bool complements = false) {
        for (int i = 0; i < 8; i++) c[i] = Real(complements ? 1 - op.c[i] : op.c[i]);
    }
};

/* The array p[i] of an operation. */
template <class T> FN T *array(const Operation &op, int i) { return static_cast<T *>(op.p[i]); }

/* Where thread `thread` of the launch begins, and how far apart its things are: i = first; i < count; i += stride. */
#define EACH(i, count)                                                                                    \
    for (long long i = blockIdx.x * (long long)THREADS + threadIdx.x, stride_ = gridDim.x * (long long)THREADS; \
         i < (count); i += stride_)

/* i / d and i % d, in 32 bits where both fit: those take a quarter of the time. */
FN long long row_of(long long i, long long d) {
    return (i | d) >> 32 ? i / d : (long long)((unsigned)i / (unsigned)d);
}
FN long long column_of(long long i, long long d) {
    return (i | d) >> 32 ? i % d : (long long)((unsigned)i % (unsigned)d);
}

#define KERNEL(name)                                                                                      \
    template <class Real> FN void name(const Operation &op, const long long *state);                      \
    extern "C" __global__ void __launch_bounds__(THREADS) name##_float32(Operation op, const long long *state) { \
        name<float>(op, state);                                                                           \
    }                                                                                                     \
    extern "C" __global__ void __launch_bounds__(THREADS) name##_float64(Operation op, const long long *state) { \
        name<double>(op, state);                                                                          \
    }                                                                                                     \
    template <class Real> FN void name(const Operation &op, [[maybe_unused]] const long long *state)

} // namespace mlpx

#endif
