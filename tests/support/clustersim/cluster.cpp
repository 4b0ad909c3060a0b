#include GPU_CLUSTER

using simulated::run;

extern "C" int hold(int b, unsigned seed, float *out) {
    return run(b, seed, [=] { (b == 8 ? hold_8 : hold_16)(out); });
}
extern "C" int swap(int b, unsigned seed, int how, int scatter, int items, int rounds,
                    const float *in, float *out, long long *clocks, int *flags) {
    return run(b, seed, [=] {
        (b == 8 ? swap_8 : swap_16)(how, scatter, items, rounds, in, out, clocks, flags);
    });
}
extern "C" int share(int b, unsigned seed, int way, int tf32, int reps, float rate, const float *x,
                     const float *W, const float *d, float *out, long long *clocks, int *flags) {
    return run(1, seed, [=] {
        (b == 8 ? share_8 : share_16)(way, tf32, reps, rate, x, W, d, out, clocks, flags);
    });
}
extern "C" int train(int b, unsigned seed, int how, int tf32, int steps, float rate,
                     const uchar4 *images, int batches, const float *W1, const float *W2,
                     float *out, long long *clocks, int *flags) {
    return run(b, seed, [=] {
        (b == 8 ? train_8 : train_16)(how, tf32, steps, rate, images, batches, W1, W2, out, clocks,
                                      flags);
    });
}
