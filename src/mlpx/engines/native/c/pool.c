/* Threads that live as long as the process, meet at a barrier within a step, and sleep between calls. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
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
    pthread_cond_t start, done, met;
    int threads, generation, running;
    Task task;
    void *argument;
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_int phase;
    atomic_int asleep;
};

typedef struct {
    Pool *pool;
    int thread;
} Worker;

static void *work(void *given) {
    Worker me = *(Worker *)given;
    free(given);
    int seen = 0;
    for (;;) {
        pthread_mutex_lock(&me.pool->lock);
        while (me.pool->generation == seen) pthread_cond_wait(&me.pool->start, &me.pool->lock);
        seen = me.pool->generation;
        Task task = me.pool->task;
        void *argument = me.pool->argument;
        pthread_mutex_unlock(&me.pool->lock);
        task(argument, me.thread);
        pthread_mutex_lock(&me.pool->lock);
        if (--me.pool->running == 0) pthread_cond_signal(&me.pool->done);
        pthread_mutex_unlock(&me.pool->lock);
    }
    return NULL;
}

Pool *pool_new(int threads) {
    if (threads > MOST) return NULL;
    Pool *pool = aligned_alloc(64, (sizeof(Pool) + 63) / 64 * 64);
    if (!pool) return NULL;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->start, NULL);
    pthread_cond_init(&pool->done, NULL);
    pthread_cond_init(&pool->met, NULL);
    pool->threads = threads;
    pool->generation = pool->running = 0;
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

void pool_run(Pool *pool, Task task, void *argument) {
    pthread_mutex_lock(&pool->lock);
    pool->task = task;
    pool->argument = argument;
    pool->running = pool->threads - 1;
    pool->generation++;
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->lock);
    task(argument, 0);
    pthread_mutex_lock(&pool->lock);
    while (pool->running) pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

void pool_meet(Pool *pool) {
    int phase = atomic_load_explicit(&pool->phase, memory_order_acquire);
    if (atomic_fetch_add_explicit(&pool->arrived, 1, memory_order_acq_rel) == pool->threads - 1) {
        atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
        atomic_store(&pool->phase, phase + 1);
        if (atomic_load(&pool->asleep)) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_broadcast(&pool->met);
            pthread_mutex_unlock(&pool->lock);
        }
        return;
    }
    /* Spinning is quickest while every thread has a core; a thread that waits for one without leaves its own to others. */
    for (int spins = 0; spins < SPINS; spins++) {
        if (atomic_load_explicit(&pool->phase, memory_order_acquire) != phase) return;
        RELAX();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->asleep, 1);
    while (atomic_load(&pool->phase) == phase) pthread_cond_wait(&pool->met, &pool->lock);
    atomic_fetch_sub(&pool->asleep, 1);
    pthread_mutex_unlock(&pool->lock);
}
