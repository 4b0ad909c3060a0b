/* Threads that live as long as the process, meet at a barrier within a step, and sleep between calls. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include "engine.h"
#include "pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define RELAX() _mm_pause()
#else
#define RELAX() ((void)0)
#endif

enum { SPINS = 1000, SOON_NS = 15000, STACK_BYTES = 4 << 20 };

/* Where a thread beside the caller's is with a task; one that is told ENDED ends. */
enum { IDLE, GIVEN, TAKEN, ENDED };

typedef struct {
    _Alignas(64) atomic_uint state;
    Pool *pool;
    void *scratch; /* handed over before the thread starts */
    pthread_t id;
    int thread;
} Worker;

struct Pool {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    unsigned threads;
    Task task;
    void *argument;
    int64_t left; /* when the caller last did */
    /* What threads wait for, beside the states, and how many of them sleep meanwhile. */
    _Alignas(64) atomic_uint arrived;
    _Alignas(64) atomic_uint phase;
    _Alignas(64) atomic_uint asleep;
    Worker workers[]; /* all but the caller's */
};

/* Returns when *number is no longer `old`. Spinning is quickest while every thread has a core; a thread that waits for
 * longer leaves its core to others. One that was woken spins again: there is work about. */
static void wait_for(Pool *pool, atomic_uint *number, unsigned old) {
    for (;;) {
        for (int spins = 0; spins < SPINS; spins++) {
            if (atomic_load_explicit(number, memory_order_acquire) != old) return;
            RELAX();
        }
        pthread_mutex_lock(&pool->lock);
        atomic_fetch_add(&pool->asleep, 1);
        if (atomic_load(number) == old) pthread_cond_wait(&pool->moved, &pool->lock);
        atomic_fetch_sub(&pool->asleep, 1);
        pthread_mutex_unlock(&pool->lock);
    }
}

/* Wakes those that sleep, after a number they may wait for has changed. */
static void wake(Pool *pool) {
    /* The number before the sleepers, as a sleeper counts itself before it looks at the number: emulators of processors with
     * weakly ordered memory let a load overtake a store, whatever the two say. */
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load(&pool->asleep)) return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->moved);
    pthread_mutex_unlock(&pool->lock);
}

static pthread_key_t scratch;
static pthread_once_t has_scratch = PTHREAD_ONCE_INIT;

static void make_scratch(void) { pthread_key_create(&scratch, free); }

static void *new_scratch(void) { return aligned_alloc(64, PACKED_BYTES + ROOM_BYTES); }

void *mlpx_scratch(void) { return pthread_getspecific(scratch); }

int pool_ready(void) {
    pthread_once(&has_scratch, make_scratch);
    if (mlpx_scratch()) return 1;
    void *memory = new_scratch();
    if (!memory || !pthread_setspecific(scratch, memory)) return memory != NULL;
    free(memory);
    return 0;
}

static void *work(void *worker) {
    Worker *me = worker;
    pthread_setspecific(scratch, me->scratch);
    for (;;) {
        unsigned given = GIVEN;
        wait_for(me->pool, &me->state, IDLE);
        if (atomic_load(&me->state) == ENDED) return NULL;
        if (!atomic_compare_exchange_strong(&me->state, &given, TAKEN)) continue; /* it was taken back */
        me->pool->task(me->pool->argument, me->thread);
        atomic_store(&me->state, IDLE);
        wake(me->pool);
    }
    return NULL;
}

/* Starts one of the threads beside the caller's. */
static int start(Pool *pool, int thread, const pthread_attr_t *attributes) {
    Worker *worker = pool->workers + thread - 1;
    worker->pool = pool, worker->thread = thread;
    atomic_init(&worker->state, IDLE);
    worker->scratch = new_scratch();
    if (worker->scratch && !pthread_create(&worker->id, attributes, work, worker)) return 1;
    free(worker->scratch);
    return 0;
}

/* Ends those of `count` threads that were started. */
static void end(Pool *pool, int count) {
    for (int i = 0; i < count; i++) atomic_store(&pool->workers[i].state, ENDED);
    wake(pool);
    for (int i = 0; i < count; i++) pthread_join(pool->workers[i].id, NULL);
}

Pool *pool_new(int threads) {
    if (threads > MOST_THREADS) return NULL;
    pthread_once(&has_scratch, make_scratch);
    Pool *pool = aligned_alloc(64, sizeof(Pool) + sizeof(Worker) * (size_t)(threads - 1));
    if (!pool) return NULL;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->moved, NULL);
    pool->threads = (unsigned)threads;
    pool->left = 0;
    atomic_init(&pool->arrived, 0);
    atomic_init(&pool->phase, 0);
    atomic_init(&pool->asleep, 0);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES); /* blocks of factors are there; some systems give 128 KB */
    int started = 1;
    while (started < threads && start(pool, started, &attributes)) started++;
    pthread_attr_destroy(&attributes);
    if (started == threads) {
        for (int i = 1; i < threads; i++) pthread_detach(pool->workers[i - 1].id);
        return pool;
    }
    end(pool, started - 1);
    free(pool);
    return NULL;
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int pool_awake(Pool *pool) {
    if (!atomic_load(&pool->asleep)) return 1;
    if (now_ns() - pool->left < SOON_NS) wake(pool);
    return 0;
}

void pool_leave(Pool *pool) { pool->left = now_ns(); }

void pool_run(Pool *pool, Task task, void *argument, int all) {
    Worker *end = pool->workers + pool->threads - 1;
    pool->task = task;
    pool->argument = argument;
    for (Worker *worker = pool->workers; worker < end; worker++) atomic_store(&worker->state, GIVEN);
    wake(pool);
    task(argument, 0);
    for (Worker *worker = pool->workers; worker < end; worker++) {
        unsigned state = GIVEN;
        if (!all && atomic_compare_exchange_strong(&worker->state, &state, IDLE)) continue;
        while ((state = atomic_load_explicit(&worker->state, memory_order_acquire)) != IDLE)
            wait_for(pool, &worker->state, state);
    }
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
