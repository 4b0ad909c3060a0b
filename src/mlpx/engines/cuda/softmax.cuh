/* What a softmax needs to stay finite. */
#ifndef MLPX_SOFTMAX_CUH
#define MLPX_SOFTMAX_CUH

#include "sums.cuh"

namespace mlpx {

/* The largest of a row's numbers, and the least that it can be subtracted from without overflow. */
template <class Real> struct Reach {
    Real most, least;
    __device__ __forceinline__ explicit Reach(Real largest) : most(largest) {
        least = (most > 0 ? most : 0) - Limits<Real>::largest * (1 - 4 * Limits<Real>::epsilon);
        least = least < most ? least : most;
    }
    /* z less the largest, finite. */
    __device__ __forceinline__ Real below(Real z) const { return (z < least ? least : z) - most; }
};

/* The largest of a row of k numbers, in every lane. */
template <class Real> FN Real largest_of(const Real *z, long long k, int lane) {
    Real most = z[0];
    EACH_COLUMN(j, k) most = z[j] > most ? z[j] : most;
    return warp_max(most);
}

} // namespace mlpx

#endif
