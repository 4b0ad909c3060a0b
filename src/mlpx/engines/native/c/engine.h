/* The native engine: a program is an array of operations, run many steps in one call.
 *
 * Most operations work on the rows of the batch: every thread takes its share of the rows through a whole chain
 * of them without waiting for the others. Some divide something else (a gradient, the flat parameters), and
 * those that are `alone` run on thread 0. `wait` says that all threads meet before the operation.
 */
#ifndef MLPX_ENGINE_H
#define MLPX_ENGINE_H

#include <stdint.h>

typedef struct Op Op;

/* Where a thread is: the position in the epoch's tables, the steps taken before, its number among the threads, and its
 * tile among those of its share. */
typedef struct {
    int64_t position, step;
    int32_t thread, threads, tile, tiles;
} Where;

typedef void (*Kernel)(const Op *op, const Where *at);

/* `chain` operations from this one on divide the same thing in the same way: a thread runs all of them on the first
 * of `tiles` tiles of its share, then on the next, so that each finds in the cache what the one before it wrote. What only
 * the tile at hand needs is in the same memory for all tiles of a thread, that of its first. */
struct Op {
    Kernel kernel;
    int32_t alone, wait, chain, tiles;
    int32_t half, unused; /* half: the factors of products are rounded to bfloat16 */
    int64_t n[8];      /* sizes and strides */
    double c[8];       /* constants */
    void *p[12];       /* arrays */
    int32_t local[12]; /* the bytes of a row of each array that is needed within a tile only, 0 for the others */
};

/* [lo, hi): this thread's share of n things, or the tile of it, in multiples of `grain`. */
static inline void share(int64_t n, int64_t grain, const Where *at, int64_t *lo, int64_t *hi) {
    int64_t blocks = (n + grain - 1) / grain;
    int64_t first = blocks * at->thread / at->threads, mine = blocks * (at->thread + 1) / at->threads - first;
    int64_t last = first + mine * (at->tile + 1) / at->tiles;
    first += mine * at->tile / at->tiles;
    *lo = first * grain < n ? first * grain : n;
    *hi = last * grain < n ? last * grain : n;
}

enum {
    PACKED_BYTES = 4 << 20, /* of copies of one factor of a product, */
    ROOM_BYTES = 1 << 20,   /* and of the other's */
};

/* PACKED_BYTES + ROOM_BYTES of this thread's own memory, which is there before anything runs: see pool.h. */
void *mlpx_scratch(void);

#endif
