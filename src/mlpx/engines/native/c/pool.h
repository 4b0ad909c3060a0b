#ifndef MLPX_POOL_H
#define MLPX_POOL_H

typedef struct Pool Pool;
typedef void (*Task)(void *argument, int thread);

/* `threads` threads, the caller among them; NULL if they cannot be had. They are never ended. */
Pool *pool_new(int threads);
/* Runs task(argument, i) on every thread i and returns when all have. */
void pool_run(Pool *pool, Task task, void *argument);
/* Returns when every thread of the running task has called it. */
void pool_meet(Pool *pool);

#endif
