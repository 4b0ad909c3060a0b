/* The loop over steps and operations. */
#include <stdatomic.h>
#include <string.h>
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

/* Numbers below the smallest normal one are tens of times slower: flush them, until they are set back. */
static unsigned flush_denormals(void) {
#if defined(__x86_64__)
    unsigned control = _mm_getcsr();
    _mm_setcsr(control | 0x8040);
    return control;
#else
    return 0;
#endif
}

static void set_back(unsigned control) {
#if defined(__x86_64__)
    _mm_setcsr(control);
#else
    (void)control;
#endif
}

enum { MOST_LINKS = 64 };

/* A chain of operations, tile by tile. */
static void run_tiles(const Op *chain, Where *at) {
    Op moved[MOST_LINKS];
    int64_t first, end, lo;
    int32_t links = chain->chain <= MOST_LINKS ? chain->chain : 0;
    share(chain->n[0], 1, at, &first, &end);
    memcpy(moved, chain, sizeof(Op) * (size_t)links);
    for (at->tiles = chain->tiles, at->tile = 0; at->tile < at->tiles; at->tile++) {
        share(chain->n[0], 1, at, &lo, &end);
        for (int32_t l = 0; l < links; l++)
            for (int a = 0; a < 12; a++)
                if (chain[l].local[a]) moved[l].p[a] = (char *)chain[l].p[a] + (first - lo) * chain[l].local[a];
        for (int32_t l = 0; l < chain->chain; l++) {
            const Op *link = links ? moved + l : chain + l;
            link->kernel(link, at);
        }
    }
    at->tile = 0, at->tiles = 1;
}

static void run_thread(void *argument, int thread) {
    const Run *run = argument;
    unsigned control = flush_denormals(); /* moments decay to denormals */
    Where at = {run->position, run->step, thread, run->threads, 0, 1};
    for (int64_t i = 0; i < run->steps; i++, at.position++, at.step++) {
        for (const Op *op = run->ops, *end = op + run->count; op < end; op += op->chain) {
            if (op->wait && run->threads > 1) pool_meet(run->pool);
            if (op->alone && thread != 0) continue;
            if (op->tiles > 1) run_tiles(op, &at);
            else
                for (const Op *link = op; link < op + op->chain; link++) link->kernel(link, &at);
        }
    }
    set_back(control);
}

/* Runs `steps` steps of the program from `state` = {position, steps taken}, which it advances. Returns 0 where there is no
 * memory for it, and nothing is done. */
int32_t mlpx_run(const Op *ops, int64_t count, int64_t steps, int64_t *state, Pool *pool, int32_t threads) {
    Run run = {ops, count, steps, state[0], state[1], threads, pool};
    if (!pool_ready()) return 0;
    if (threads > 1) pool_run(pool, run_thread, &run, 1);
    else run_thread(&run, 0);
    state[0] += steps;
    state[1] += steps;
    return 1;
}

/* A forward pass over chunks of rows; library.py has it too. `divided`: threads divide what each operation of the one chunk
 * does, instead of the chunks. */
typedef struct {
    const Op *const *whole, *const *rest;
    int64_t count, rest_count, chunks, threads, divided, brief;
} Forward;

typedef struct {
    const Forward *run;
    atomic_int begun[MOST_THREADS]; /* chunks of each thread's share */
} Chunks;

static void run_chunk(const Forward *run, int64_t chunk, int thread) {
    int ragged = run->rest && chunk == run->chunks - 1;
    const Op *op = (ragged ? run->rest : run->whole)[thread];
    const Op *end = op + (ragged ? run->rest_count : run->count);
    for (Where at = {chunk, 0, 0, 1, 0, 1}; op < end; op++) op->kernel(op, &at);
}

/* First the chunks of its own share, one after the other, then those that are left of the others'. */
static void forward_thread(void *argument, int thread) {
    Chunks *chunks = argument;
    const Forward *run = chunks->run;
    unsigned control = flush_denormals();
    for (int64_t i = 0, threads = run->threads; i < threads; i++) {
        int64_t of = (thread + i) % threads, chunk, end = run->chunks * (of + 1) / threads;
        while ((chunk = run->chunks * of / threads + atomic_fetch_add(&chunks->begun[of], 1)) < end)
            run_chunk(run, chunk, thread);
    }
    set_back(control);
}

/* Runs a program on each chunk of some rows, every thread its own copy, `whole[thread]`; the last chunk by `rest[thread]`
 * where that is given. The operations' position is the number of the chunk. A brief run is the caller's alone if another
 * thread sleeps, since waking it takes longer; the results are the same. Returns as mlpx_run. */
int32_t mlpx_forward(const Forward *run, Pool *pool) {
    if (!pool_ready()) return 0;
    int together = run->threads > 1 && (!run->brief || pool_awake(pool));
    Chunks chunks = {.run = run};
    Run divided = {run->whole[0], run->count, 1, 0, 0, together ? (int32_t)run->threads : 1, pool};
    Task task = run->divided ? run_thread : forward_thread;
    void *argument = run->divided ? (void *)&divided : (void *)&chunks;
    if (together) pool_run(pool, task, argument, run->divided != 0);
    else task(argument, 0);
    if (pool) pool_leave(pool);
    return 1;
}

Pool *mlpx_pool(int32_t threads) { return pool_new(threads); }
