#ifndef MLPX_PHILOX_H
#define MLPX_PHILOX_H

#include <stdint.h>
#include <string.h>

/* Philox4x64-10 of a counter, in its place: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
static inline void philox(uint64_t counter[4], uint64_t seed, uint64_t purpose) {
    for (int i = 0; i < 10; i++) {
        unsigned __int128 first = (unsigned __int128)counter[0] * 0xD2E7470EE14C6C93u;
        unsigned __int128 second = (unsigned __int128)counter[2] * 0xCA5A826395121157u;
        uint64_t next[4] = {(uint64_t)(second >> 64) ^ counter[1] ^ seed, (uint64_t)second,
                            (uint64_t)(first >> 64) ^ counter[3] ^ purpose, (uint64_t)first};
        memcpy(counter, next, sizeof next);
        seed += 0x9E3779B97F4A7C15u;
        purpose += 0xBB67AE8584CAA73Bu;
    }
}

#endif
