/* Sums whose order depends on the launch alone: the same bits in every run, without atomic additions.
 *
 * A warp adds by exchanging numbers, a block adds its warps' sums in shared memory, and a launch its blocks' sums in
 * the room that p[11] of the operation points to: the block that finishes last adds them up in the order of the blocks.
 */
#ifndef MLPX_SUMS_CUH
#define MLPX_SUMS_CUH

#include "operation.cuh"

namespace mlpx {

#define WARP 32
#define ALL_LANES 0xffffffffu
#define COLUMNS 8 /* that a block sums at a time: 32 bytes of a row of floats, the smallest transfer from memory */
#define LANES (THREADS / COLUMNS)

extern __shared__ __align__(16) double shared_memory[];
template <class T> FN T *shared() { return reinterpret_cast<T *>(shared_memory); }

/* The room of a launch: a ticket for each group of blocks that adds something up, then the blocks' sums. */
#define TICKETS 1024
FN unsigned *tickets(const Operation &op) { return static_cast<unsigned *>(op.p[11]); }
template <class T> FN T *parts(const Operation &op) { return reinterpret_cast<T *>(tickets(op) + TICKETS); }

/* The sum over a warp, in every lane of it. */
template <class T> FN T warp_sum(T x) {
    for (int apart = WARP / 2; apart; apart /= 2) x += __shfl_xor_sync(ALL_LANES, x, apart);
    return x;
}

template <class T> FN T warp_max(T x) {
    for (int apart = WARP / 2; apart; apart /= 2) {
        T other = __shfl_xor_sync(ALL_LANES, x, apart);
        x = other > x ? other : x;
    }
    return x;
}

/* The sum over a block, in every thread of it. Shared memory: THREADS / WARP numbers. */
template <class T> FN T block_sum(T x) {
    T *sums = shared<T>(), total = 0;
    x = warp_sum(x);
    if (threadIdx.x % WARP == 0) sums[threadIdx.x / WARP] = x;
    __syncthreads();
    for (int i = 0; i < THREADS / WARP; i++) total += sums[i];
    __syncthreads(); /* before anyone writes the next sums */
    return total;
}

/* The largest x over a block, in every thread of it, and at least 0; the block meets before it asks again. Shared memory:
 * THREADS / WARP numbers. */
template <class T> FN T block_max(T x) {
    T *each = shared<T>(), most = 0;
    x = warp_max(x);
    if (threadIdx.x % WARP == 0) each[threadIdx.x / WARP] = x;
    __syncthreads();
    for (int i = 0; i < THREADS / WARP; i++) most = each[i] > most ? each[i] : most;
    return most;
}

/* Whether this block is the last of `blocks` to get here; it can then read what the others wrote before. */
FN bool last_block(unsigned *ticket, unsigned blocks) {
    bool last = false;
    __threadfence(), __syncthreads(); /* all have written before the ticket is taken */
    if (threadIdx.x == 0) {
        last = atomicAdd(ticket, 1u) == blocks - 1;
        if (last) *ticket = 0; /* for the next launch */
    }
    last = __syncthreads_or(last);
    __threadfence();
    return last;
}

/* The sums over all blocks of what each thread has of N sums; finish(sums) is called by one thread at the end. */
template <int N, class T, class Finish> FN void add_up(const Operation &op, T *sums, Finish finish) {
    for (int a = 0; a < N; a++) sums[a] = block_sum(sums[a]);
    if (gridDim.x > 1) {
        T *each = parts<T>(op);
        if (threadIdx.x == 0)
            for (int a = 0; a < N; a++) each[a * gridDim.x + blockIdx.x] = sums[a];
        if (!last_block(tickets(op), gridDim.x)) return;
        for (int a = 0; a < N; a++)
            sums[a] = block_sum(threadIdx.x < gridDim.x ? each[a * gridDim.x + threadIdx.x] : T(0));
    }
    if (threadIdx.x == 0) finish(sums);
}

/* N sums over [0, count), by all blocks of the launch. add(i, sums) adds the terms of i, finish(sums) is called by one
 * thread at the end. */
template <int N, class T, class Add, class Finish>
FN void sum_all(const Operation &op, long long count, Add add, Finish finish) {
    T sums[N] = {};
    EACH(i, count) add(i, sums);
    add_up<N>(op, sums, finish);
}

/* The largest value(i) over [0, count), and at least 0, by all blocks of the launch; finish(largest) is called by one
 * thread at the end. */
template <class T, class Value, class Finish>
FN void max_all(const Operation &op, long long count, Value value, Finish finish) {
    T most = 0;
    EACH(i, count) {
        const T x = value(i);
        most = x > most ? x : most;
    }
    most = block_max(most);
    if (gridDim.x > 1) {
        T *each = parts<T>(op);
        if (threadIdx.x == 0) each[blockIdx.x] = most;
        if (!last_block(tickets(op), gridDim.x)) return;
        most = block_max(threadIdx.x < gridDim.x ? each[threadIdx.x] : T(0));
    }
    if (threadIdx.x == 0) finish(most);
}

/* The sum of x over the lanes that have this thread's column, in all of them. Shared memory: THREADS numbers. */
template <class T> FN T lanes_sum(T x) {
    T *sums = shared<T>(), total = 0;
    sums[threadIdx.x] = x;
    __syncthreads();
    for (int half = LANES / 2; half; half /= 2) {
        if ((int)threadIdx.x < half * COLUMNS) sums[threadIdx.x] += sums[threadIdx.x + half * COLUMNS];
        __syncthreads();
    }
    total = sums[threadIdx.x % COLUMNS];
    __syncthreads(); /* before anyone writes the next sums */
    return total;
}

/* A block's columns of (n, d) and each thread's part of them. */
struct Columns {
    long long groups, column, lane;
    bool inside;
    __device__ __forceinline__ Columns(long long d) {
        groups = (d + COLUMNS - 1) / COLUMNS;
        column = blockIdx.x % groups * COLUMNS + threadIdx.x % COLUMNS;
        lane = threadIdx.x / COLUMNS;
        inside = column < d;
    }
};

/* N sums over the n rows for each of d columns; gridDim.x / groups blocks share the rows of a column.
 * add(row, column, sums) adds the terms of an element, finish(column, sums) is called by one thread a column. */
template <int N, class T, class Add, class Finish>
FN void sum_columns(const Operation &op, long long n, long long d, Add add, Finish finish) {
    const Columns at(d);
    const long long chunks = gridDim.x / at.groups, chunk = blockIdx.x / at.groups;
    const long long stop = n * (chunk + 1) / chunks;
    T sums[N] = {};
    if (at.inside)
        for (long long i = n * chunk / chunks + at.lane; i < stop; i += LANES) add(i, at.column, sums);
    for (int a = 0; a < N; a++) sums[a] = lanes_sum(sums[a]);
    if (chunks > 1) {
        T *each = parts<T>(op); /* (N, chunks, groups * COLUMNS) */
        const long long width = at.groups * COLUMNS;
        if (at.lane == 0)
            for (int a = 0; a < N; a++) each[(a * chunks + chunk) * width + at.column] = sums[a];
        if (!last_block(tickets(op) + blockIdx.x % at.groups, (unsigned)chunks)) return;
        for (int a = 0; a < N; a++) {
            T sum = 0;
            for (long long i = at.lane; i < chunks; i += LANES) sum += each[(a * chunks + i) * width + at.column];
            sums[a] = lanes_sum(sum);
        }
    }
    if (at.inside && at.lane == 0) finish(at.column, sums);
}

/* Each warp's rows of n, from its first in steps of the number of warps. `lane` is the thread's place in the warp. */
#define EACH_ROW(i, n)                                                                                    \
    const int lane = threadIdx.x % WARP;                                                                  \
    for (long long i = blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP,                                \
                   stride_ = (long long)gridDim.x * (THREADS / WARP);                                     \
         i < (n); i += stride_)

/* A lane's columns of a row. */
#define EACH_COLUMN(j, d) for (long long j = lane; j < (d); j += WARP)

} // namespace mlpx

#endif
