// A cluster on the CPU, in the place of bench/gpu_cluster.cuh: threads are fibers, what is sent
// without waiting comes late and in any order. Not covered: races of memory without a barrier.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "fibers.h"

#define __device__
#define __restrict__
#define CLUSTER_KERNEL(blocks) extern "C" void
#define BLOCK_KERNEL extern "C" void

struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct uchar4 { unsigned char x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
using std::min;

namespace simulated {
constexpr int THREADS = 512, BYTES = 200 << 10;

struct Barrier {
    int size, count = 0, round = 0, heard = 0, answer = 0;
};
struct Signal {
    int pending = 1, bytes = 0, phase = 0;
    void check() { if (pending == 0 && bytes == 0) pending = 1, phase ^= 1; }
};
struct Message {
    unsigned to, from, signal;
    int bytes;
    float4 value;
};
struct BlockState {
    std::unique_ptr<float4[]> memory{new float4[BYTES / 16]};
    Barrier barrier{THREADS};
    std::vector<Barrier> warps = std::vector<Barrier>(THREADS / 32, Barrier{32});
    Signal signals[2];
    float lanes[THREADS][8];
};
struct Fiber {
    ucontext_t beginning;
    Place place;
    std::unique_ptr<char[]> stack;
    bool begun = false, done = false;
};

inline std::vector<BlockState> blocks;
inline std::vector<Fiber> fibers;
inline std::vector<Message> messages;
inline Barrier all{0};
inline Place scheduler;
inline std::function<void()> body;
inline std::mt19937 random;
inline int current;

inline BlockState &here() { return blocks[current / THREADS]; }
inline char *bytes(unsigned a) {
    return reinterpret_cast<char *>(blocks.at((a >> 24) - 1).memory.get()) + (a & 0xffffff);
}
inline void yield() { jump(fibers[current].place, scheduler); }
inline int wait(Barrier &barrier, int heard = 0) {
    const int round = barrier.round;
    barrier.heard |= heard;
    if (++barrier.count == barrier.size)
        barrier.answer = barrier.heard, barrier.heard = barrier.count = 0, barrier.round++;
    while (barrier.round == round) yield();
    return barrier.answer;
}
inline void deliver(const Message &m) {
    if (m.from) std::memcpy(bytes(m.to), bytes(m.from), m.bytes);
    else std::memcpy(bytes(m.to), &m.value, 16);
    Signal &signal = blocks.at((m.signal >> 24) - 1).signals[(m.signal & 0xffffff) / 8];
    signal.bytes -= m.bytes;
    signal.check();
}
inline void begin() { body(); fibers[current].done = true; yield(); }

// 0, or 1 if the threads wait for one another for ever.
inline int run(int count, unsigned seed, std::function<void()> kernel) {
    blocks = std::vector<BlockState>(count), fibers = std::vector<Fiber>(count * THREADS);
    messages.clear(), all = Barrier{count * THREADS}, body = kernel, random.seed(seed);
    for (auto &block : blocks) std::fill_n(reinterpret_cast<float *>(block.memory.get()), BYTES / 4,
                                           std::numeric_limits<float>::quiet_NaN());
    std::vector<int> order;
    for (auto &fiber : fibers) {
        order.push_back(static_cast<int>(order.size()));
        fiber.stack.reset(new char[32 << 10]);
        getcontext(&fiber.beginning);
        fiber.beginning.uc_stack.ss_sp = fiber.stack.get(), fiber.beginning.uc_stack.ss_size = 32 << 10;
        makecontext(&fiber.beginning, begin, 0);
    }
    for (int pass = 0; pass < 8000; pass++) {
        if (seed) std::shuffle(order.begin(), order.end(), random);
        bool left = false;
        for (int i : order) {
            if (fibers[i].done) continue;
            left = true, current = i;
            if (seed > 1 && random() % 4 == 0) continue;  // some are slower
            if (fibers[i].begun) jump(scheduler, fibers[i].place);
            else fibers[i].begun = true, enter(scheduler, fibers[i].beginning);
        }
        if (!left) return 0;
        for (size_t i = 0; i < messages.size();) {
            if (random() % 2) { i++; continue; }
            deliver(messages[i]);
            messages[i] = messages.back(), messages.pop_back();
        }
    }
    return 1;
}
}  // namespace simulated

struct Index { operator int() const { return simulated::current % simulated::THREADS; } };
inline struct { Index x; } threadIdx;

inline float4 *shared_memory() { return simulated::here().memory.get(); }
inline int cluster_rank() { return simulated::current / simulated::THREADS; }
inline unsigned address(const void *p) {
    const auto offset = static_cast<const char *>(p) - reinterpret_cast<char *>(shared_memory());
    if (offset < 0 || offset >= simulated::BYTES) std::abort();
    return static_cast<unsigned>(offset);
}
inline unsigned peer(unsigned own, int rank) { return own | static_cast<unsigned>(rank + 1) << 24; }
inline void __syncthreads() { simulated::wait(simulated::here().barrier); }
inline int __syncthreads_or(int heard) { return simulated::wait(simulated::here().barrier, heard); }
inline void cluster_barrier() { simulated::wait(simulated::all); }
inline float4 &there(unsigned a) { return *reinterpret_cast<float4 *>(simulated::bytes(a)); }
inline float4 load_peer(unsigned from) { return there(from); }
inline void store_peer(unsigned to, float4 x) { there(to) = x; }
inline void store_async(unsigned to, float4 x, unsigned barrier) {
    simulated::messages.push_back({to, 0, barrier, 16, x});
}
inline void copy_async(unsigned to, unsigned from, int bytes, unsigned barrier) {
    if (bytes % 16 || to % 16 || from % 16) std::abort();
    simulated::messages.push_back({to, peer(from, cluster_rank()), barrier, bytes, {}});
}
inline void fence_async() {}
inline void start(unsigned) {}
inline void fence_started() {}
inline void expect(unsigned barrier, int bytes) {
    auto &signal = simulated::here().signals[barrier / 8];
    signal.pending--, signal.bytes += bytes;
    signal.check();
}
inline bool ready(unsigned barrier, int parity) {
    if (simulated::here().signals[barrier / 8].phase != parity) return true;
    simulated::yield();
    return false;
}
inline long long clock64() { return 0; }
inline unsigned rounded(float x) {
    unsigned bits;
    std::memcpy(&bits, &x, 4);
    return (bits + 0x1000) & ~0x1fffu;
}
inline float __uint_as_float(unsigned bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}
inline float __shfl_xor_sync(unsigned, float x, int mask) {
    auto &block = simulated::here();
    block.lanes[threadIdx.x][0] = x;
    simulated::wait(block.warps[threadIdx.x / 32]);
    const float y = block.lanes[threadIdx.x ^ mask][0];
    simulated::wait(block.warps[threadIdx.x / 32]);
    return y;
}
// As the PTX manual lays out the fragments of m16n8k8.
inline void mma(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    auto &block = simulated::here();
    const int id = threadIdx.x, lane = id % 32, warp = id / 32 * 32;
    for (int q = 0; q < 4; q++) block.lanes[id][q] = __uint_as_float(a[q]);
    for (int q = 0; q < 2; q++) block.lanes[id][4 + q] = __uint_as_float(b[q]);
    simulated::wait(block.warps[id / 32]);
    for (int q = 0; q < 4; q++)
        for (int k = 0; k < 8; k++) {
            const int column = lane % 4 * 2 + q % 2, thread = warp + lane / 4 * 4 + k % 4;
            d[q] += block.lanes[thread][q / 2 + k / 4 * 2] *
                    block.lanes[warp + column * 4 + k % 4][4 + k / 4];
        }
    simulated::wait(block.warps[id / 32]);
}
