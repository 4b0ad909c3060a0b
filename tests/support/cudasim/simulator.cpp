/* Runs a kernel block by block; the threads of a block are fibers, switched where they wait for each other.
 *
 * The order of threads and blocks is the schedule: forward, backward, or drawn by chance from a seed. Shared memory is
 * NaN at the start of each block, and what lies behind it must not change. A thread that waits for one that has
 * returned, or threads that wait in different places, are errors. A warp runs as far ahead of the others as it can; a
 * fiber goes on with the next thread when one is done, so that a kernel in which nobody waits is a loop.
 */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "cuda_on_cpu.h"
#include "fibers.h"
#include "operation.cuh"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define POISON(p, size) __asan_poison_memory_region(p, size)
#define UNPOISON(p, size) __asan_unpoison_memory_region(p, size)
#else
#define POISON(p, size)
#define UNPOISON(p, size)
#endif

Index threadIdx, blockIdx, blockDim, gridDim;

namespace mlpx {
constexpr size_t MOST_SHARED = 48 << 10;
alignas(64) double shared_memory[MOST_SHARED / sizeof(double)];
}

namespace {
constexpr int WARP_SIZE = 32, MOST_THREADS = 1024;
constexpr size_t STACK = 64 << 10;
constexpr unsigned char CANARY = 0xA5;

enum State { NEW, READY, AT_WARP, AT_BLOCK, DONE };
struct Thread {
    Place place;
    State state;
    const void *where;
    int vote;
    unsigned exchanges;
};

Thread block[MOST_THREADS];
char *stacks;
Place scheduler, parked[MOST_THREADS];
std::vector<int> idle; /* the fibers that are parked: nobody's until the next warp begins */
std::vector<int> turns, lanes, warps, blocks;
size_t next_turn;
int current, votes, made;
const char *failure;
unsigned char slots[MOST_THREADS][2][8];
uint64_t chance;

void (*kernel)(Operation, const long long *);
const Operation *operation;
const long long *state_of_steps;

unsigned draw(unsigned n) {
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(chance >> 33) % n;
}

void wait(State state, const void *where) {
    Thread &thread = block[current];
    thread.state = state;
    thread.where = where;
    jump(thread.place, scheduler);
}

void become(int thread) {
    current = thread;
    threadIdx.x = (unsigned)thread;
}

/* A fiber: new threads in their turns until none of the warp is left, and so for each warp it is given. */
void body(int fiber) {
    for (;;) {
        while (next_turn < turns.size()) {
            become(turns[next_turn++]);
            kernel(*operation, state_of_steps);
            block[current].state = DONE;
        }
        idle.push_back(fiber);
        jump(parked[fiber], scheduler);
    }
}

void make_fiber() {
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = stacks + made * STACK;
    context.uc_stack.ss_size = STACK;
    context.uc_link = nullptr;
    makecontext(&context, reinterpret_cast<void (*)()>(body), 1, made++);
    enter(scheduler, context);
}

void start_fiber() {
    if (idle.empty()) return make_fiber();
    const int fiber = idle.back();
    idle.pop_back();
    jump(scheduler, parked[fiber]);
}

/* Whether all of [first, stop) wait in one place; lets them go on if so. */
bool release(int first, int stop, State state) {
    for (int i = first; i < stop; i++)
        if (block[i].state != state) return false;
    for (int i = first; i < stop; i++) {
        if (block[i].where != block[first].where) failure = "threads wait at different barriers";
        block[i].state = READY;
    }
    return true;
}

/* The numbers below n as the schedule has them, in memory that is kept. */
const std::vector<int> &order(std::vector<int> &numbers, int n, int schedule) {
    numbers.resize(n);
    for (int i = 0; i < n; i++) numbers[i] = schedule == 1 ? n - 1 - i : i;
    if (schedule > 1)
        for (int i = n - 1; i > 0; i--) std::swap(numbers[i], numbers[draw(i + 1)]);
    return numbers;
}

/* Lets the threads of a warp go on until they wait for others: as far ahead of them as they can get. */
void run_warp(int first, int schedule) {
    if (block[first].state == NEW) {
        order(turns, WARP_SIZE, schedule);
        for (int &turn : turns) turn += first;
        for (next_turn = 0; next_turn < turns.size();) start_fiber();
    }
    do {
        for (int lane : order(lanes, WARP_SIZE, schedule)) {
            if (block[first + lane].state != READY) continue;
            become(first + lane);
            jump(scheduler, block[first + lane].place);
        }
    } while (!failure && release(first, first + WARP_SIZE, AT_WARP));
}

void run_block(int threads, size_t shared, int schedule) {
    memset(mlpx::shared_memory, 0xff, shared); /* NaN, as float and as double */
    for (int i = 0; i < threads; i++) block[i].state = NEW, block[i].vote = 0, block[i].exchanges = 0;
    while (!failure) {
        for (int warp : order(warps, threads / WARP_SIZE, schedule)) run_warp(warp * WARP_SIZE, schedule);
        int done = 0;
        for (int i = 0; i < threads; i++) done += block[i].state == DONE;
        if (done == threads) break;
        votes = 0;
        for (int i = 0; i < threads; i++) votes |= block[i].vote, block[i].vote = 0;
        if (!release(0, threads, AT_BLOCK))
            failure = "threads wait for others that have returned, or for what is not all there";
    }
}
} // namespace

void wait_for_block(const void *where) { wait(AT_BLOCK, where); }
void wait_for_warp(const void *where) { wait(AT_WARP, where); }

int block_votes(int vote, const void *where) {
    block[current].vote = vote;
    wait(AT_BLOCK, where);
    return votes;
}

/* The slot of the exchange that begins (`next`), or of the one just waited for. */
void *exchange_slot(int lane, bool next) {
    unsigned mine = next ? block[current].exchanges++ : block[current].exchanges - 1;
    return slots[current / WARP_SIZE * WARP_SIZE + lane][mine % 2];
}

void check_mask(unsigned mask) {
    if (mask != 0xffffffffu) failure = "an exchange of some lanes only";
}

/* Runs a kernel; returns NULL, or what is wrong with it. */
extern "C" const char *cudasim_run(void *function, int grid, int threads, const void *given, const long long *state,
                                   size_t shared, int schedule, uint64_t seed) {
    kernel = reinterpret_cast<void (*)(Operation, const long long *)>(function);
    operation = static_cast<const Operation *>(given);
    state_of_steps = state;
    failure = nullptr;
    chance = seed;
    if (threads % WARP_SIZE || threads > MOST_THREADS || shared > mlpx::MOST_SHARED) return "a launch that CUDA refuses";
    if (!stacks) stacks = static_cast<char *>(malloc(STACK * MOST_THREADS));
    gridDim = {(unsigned)grid, 1, 1}, blockDim = {(unsigned)threads, 1, 1};
    order(blocks, grid, schedule);
    unsigned char *behind = reinterpret_cast<unsigned char *>(mlpx::shared_memory) + shared;
    const size_t left = mlpx::MOST_SHARED - shared;
    memset(behind, CANARY, left);
    POISON(behind, left);
    for (size_t i = 0; i < blocks.size() && !failure; i++) {
        blockIdx = {(unsigned)blocks[i], 0, 0};
        run_block(threads, shared, schedule);
    }
    UNPOISON(behind, left);
    if (!failure && left && (*behind != CANARY || memcmp(behind, behind + 1, left - 1)))
        failure = "written behind the shared memory";
    if (failure) made = 0, idle.clear(); /* fibers that wait for ever are made anew */
    return failure;
}
