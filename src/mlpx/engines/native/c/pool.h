#ifndef MLPX_POOL_H
#define MLPX_POOL_H

enum { MOST_THREADS = 256 };

typedef struct Pool Pool;
typedef void (*Task)(void *argument, int thread);

/* `threads` threads, the caller among them, each with memory of its own; NULL if they cannot be had, and then none is left.
 * They are never ended. */
Pool *pool_new(int threads);
/* Whether the caller has memory of its own, which it is given here. */
int pool_ready(void);
/* Runs task(argument, i) on every thread i and returns when all have. Unless `all`, threads that have not begun when the
 * caller's is done are spared it: waking one takes longer than a short task. */
void pool_run(Pool *pool, Task task, void *argument, int all);
/* Whether no thread sleeps. Those that do are woken for the next time, if it comes as soon after the caller's last leave
 * as this. */
int pool_awake(Pool *pool);
/* The caller has done for now. */
void pool_leave(Pool *pool);
/* Returns when every thread of the running task has called it. */
void pool_meet(Pool *pool);

#endif
