/* What the order of an epoch's rows is made from. */
#include "philox.h"

/* keys (n): the words of a stream at an epoch, each with its own number in the bits of `low`. */
void mlpx_keys(uint64_t seed, uint64_t purpose, uint64_t epoch, uint64_t low, int64_t n, uint64_t *keys) {
    for (int64_t i = 0; i < n; i += 4) {
        uint64_t words[4] = {(uint64_t)i / 4, 0, epoch, 0};
        philox(words, seed, purpose);
        for (int64_t j = i; j < n && j < i + 4; j++) keys[j] = (words[j - i] & ~low) | ((uint64_t)j & low);
    }
}
