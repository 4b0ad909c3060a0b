/* The loop over steps and operations. */
#include "engine.h"
#include "pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

int64_t mlpx_op_size(void) { return sizeof(Op); }

typedef struct {
    const Op *ops;
    int64_t count, steps, position, step;
    int32_t threads;
    Pool *pool;
} Run;

static void run_thread(void *argument, int thread) {
    const Run *run = argument;
#if defined(__x86_64__)
    /* Moments decay into denormals, which are tens of times slower: flush them, here only. */
    unsigned control = _mm_getcsr();
    _mm_setcsr(control | 0x8040);
#endif
    Where at = {run->position, run->step, thread, run->threads};
    for (int64_t i = 0; i < run->steps; i++, at.position++, at.step++) {
        for (const Op *op = run->ops, *end = op + run->count; op < end; op++) {
            if (op->wait && run->threads > 1) pool_meet(run->pool);
            if (!op->alone || thread == 0) op->kernel(op, &at);
        }
    }
#if defined(__x86_64__)
    _mm_setcsr(control);
#endif
}

/* Runs `steps` steps of the program from `state` = {position, steps taken}, which it advances. */
void mlpx_run(const Op *ops, int64_t count, int64_t steps, int64_t *state, Pool *pool, int32_t threads) {
    Run run = {ops, count, steps, state[0], state[1], threads, pool};
    if (threads > 1) pool_run(pool, run_thread, &run);
    else run_thread(&run, 0);
    state[0] += steps;
    state[1] += steps;
}

Pool *mlpx_pool(int32_t threads) { return pool_new(threads); }
