/* Threads that live as long as the process, meet at a barrier within a step, and sleep between calls. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "engine.h"
#include "pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define RELAX() _mm_pause()
#else
#define RELAX() ((void)0)
#endif

enum { SPINS = 1000, MOST = 256, STACK_BYTES = 4 << 20 };

struct Pool {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    unsigned threads;
    Task task;
    void *argument;
    /* What threads wait for, and how many of them sleep meanwhile. */
    _Alignas(64) atomic_uint generation;
    _Alignas(64) atomic_uint running;
    _Alignas(64) atomic_uint arrived;
    _Alignas(64) atomic_uint phase;
    _Alignas(64) atomic_uint asleep;
};

typedef struct {
    Pool *pool;
    int thread;
} Worker;

/* Returns when *number is no longer `old`. Spinning is quickest while every thread has a core; a thread that waits for
 * longer leaves its core to others. */
static void wait_for(Pool *pool, atomic_uint *number, unsigned old) {
    for (int spins = 0; spins < SPINS; spins++) {
        if (atomic_load_explicit(number, memory_order_acquire) != old) return;
        RELAX();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->asleep, 1);
    while (atomic_load(number) == old) pthread_cond_wait(&pool->moved, &pool->lock);
    atomic_fetch_sub(&pool->asleep, 1);
    pthread_mutex_unlock(&pool->lock);
}

/* Wakes those that sleep, after a number they may wait for has changed. */
static void wake(Pool *pool) {
    if (!atomic_load(&pool->asleep)) return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->moved);
    pthread_mutex_unlock(&pool->lock);
}

static void *work(void *given) {
    Worker me = *(Worker *)given;
    free(given);
    for (unsigned seen = 0;; seen++) {
        wait_for(me.pool, &me.pool->generation, seen);
        me.pool->task(me.pool->argument, me.thread);
        atomic_fetch_sub(&me.pool->running, 1);
        wake(me.pool);
    }
    return NULL;
}

Pool *pool_new(int threads) {
    if (threads > MOST) return NULL;
    Pool *pool = aligned_alloc(64, (sizeof(Pool) + 63) / 64 * 64);
    if (!pool) return NULL;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->moved, NULL);
    pool->threads = (unsigned)threads;
    atomic_init(&pool->generation, 0);
    atomic_init(&pool->running, 0);
    atomic_init(&pool->arrived, 0);
    atomic_init(&pool->phase, 0);
    atomic_init(&pool->asleep, 0);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES); /* blocks of factors are there; some systems give 128 KB */
    for (int i = 1; i < threads; i++) {
        pthread_t id;
        Worker *worker = malloc(sizeof *worker);
        if (!worker) return NULL;
        *worker = (Worker){pool, i};
        if (pthread_create(&id, &attributes, work, worker)) return NULL;
        pthread_detach(id);
    }
    return pool;
}

static pthread_key_t scratch;
static pthread_once_t has_scratch = PTHREAD_ONCE_INIT;

static void make_scratch(void) { pthread_key_create(&scratch, free); }

void *mlpx_scratch(void) {
    pthread_once(&has_scratch, make_scratch);
    void *memory = pthread_getspecific(scratch);
    if (!memory) {
        memory = aligned_alloc(64, PACKED_BYTES + ROOM_BYTES);
        if (!memory) {
            fputs("mlpx: no memory left for the factors of a product\n", stderr);
            abort();
        }
        pthread_setspecific(scratch, memory);
    }
    return memory;
}

void pool_run(Pool *pool, Task task, void *argument) {
    pool->task = task;
    pool->argument = argument;
    atomic_store(&pool->running, pool->threads - 1);
    atomic_fetch_add(&pool->generation, 1);
    wake(pool);
    task(argument, 0);
    for (unsigned left; (left = atomic_load_explicit(&pool->running, memory_order_acquire)) > 0;)
        wait_for(pool, &pool->running, left);
}

void pool_meet(Pool *pool) {
    unsigned phase = atomic_load_explicit(&pool->phase, memory_order_acquire);
    if (atomic_fetch_add_explicit(&pool->arrived, 1, memory_order_acq_rel) < pool->threads - 1) {
        wait_for(pool, &pool->phase, phase);
        return;
    }
    atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
    atomic_store(&pool->phase, phase + 1);
    wake(pool);
}
