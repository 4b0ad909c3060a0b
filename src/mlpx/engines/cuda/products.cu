/* Matrix products, used where cublasLt is missing or has no algorithm.
 *
 * A block makes a tile of C, TILE x TILE: it copies DEPTH columns of A and rows of B at a time to shared memory, and
 * each thread adds up PART x PART elements in registers. Source: Volkov and Demmel, "Benchmarking GPUs to tune dense
 * linear algebra", SC 2008.
 */
#include "sums.cuh"

namespace mlpx {

#define TILE 64
#define DEPTH 16
#define PART 4
#define SIDE (TILE / PART) /* threads along a side of the tile */

/* A matrix in memory: element (i, j) is at i * row + j * column. */
template <class Real> struct Strided {
    const Real *first;
    long long row, column;
    __device__ __forceinline__ Real at(long long i, long long j) const { return first[i * row + j * column]; }
};

/* C (m, n) = alpha A (m, k) B (k, n) + beta C. Shared memory: 2 * TILE * DEPTH numbers. */
template <class Real>
FN void multiply(Strided<Real> A, Strided<Real> B, Real *C, long long m, long long n, long long k, Real alpha, Real beta) {
    Real *a = shared<Real>(), *b = a + TILE * DEPTH; /* a: (DEPTH, TILE), transposed; b: (DEPTH, TILE) */
    const long long across = (n + TILE - 1) / TILE, top = blockIdx.x / across * TILE, left = blockIdx.x % across * TILE;
    const int y = threadIdx.x / SIDE, x = threadIdx.x % SIDE;
    Real sums[PART][PART] = {};
    for (long long from = 0; from < k; from += DEPTH) {
        for (int e = threadIdx.x; e < TILE * DEPTH; e += THREADS) {
            const long long i = top + e % TILE, j = left + e % TILE, p = from + e / TILE;
            a[e] = i < m && p < k ? A.at(i, p) : Real(0);
            b[e] = j < n && p < k ? B.at(p, j) : Real(0);
        }
        __syncthreads();
        for (int p = 0; p < DEPTH; p++)
            for (int i = 0; i < PART; i++)
                for (int j = 0; j < PART; j++)
                    sums[i][j] += a[p * TILE + y * PART + i] * b[p * TILE + x + j * SIDE];
        __syncthreads(); /* before the next are copied */
    }
    for (int i = 0; i < PART; i++)
        for (int j = 0; j < PART; j++) {
            const long long row = top + y * PART + i, column = left + x + j * SIDE;
            if (row >= m || column >= n) continue;
            Real *to = C + row * n + column;
            *to = alpha * sums[i][j] + (beta != 0 ? beta * *to : Real(0)); /* where beta is 0, C may hold NaN */
        }
}

/* A row-major matrix with so many columns, or its transpose. */
template <class Real> FN Strided<Real> matrix(const Operation &op, int i, long long columns, bool turned) {
    const Real *first = array<const Real>(op, i);
    return turned ? Strided<Real>{first, 1, columns} : Strided<Real>{first, columns, 1};
}

/* n: rows, d, k. p: x, W, out. out = x W. */
KERNEL(affine) {
    const long long n = op.n[0], d = op.n[1], k = op.n[2];
    multiply<Real>(matrix<Real>(op, 0, d, false), matrix<Real>(op, 1, k, false), array<Real>(op, 2), n, k, d, 1, 0);
}

/* n: rows, d, k. p: dz, W, dx. dx = dz W'. */
KERNEL(affine_dx) {
    const long long n = op.n[0], d = op.n[1], k = op.n[2];
    multiply<Real>(matrix<Real>(op, 0, k, false), matrix<Real>(op, 1, k, true), array<Real>(op, 2), n, d, k, 1, 0);
}

/* n: rows, d, k. p: x, dz, dW. dW = x' dz. */
KERNEL(affine_dW) {
    const long long n = op.n[0], d = op.n[1], k = op.n[2];
    multiply<Real>(matrix<Real>(op, 0, d, true), matrix<Real>(op, 1, k, false), array<Real>(op, 2), d, k, n, 1, 0);
}

/* n: m, n, k, whether A and B are transposed. c: alpha, beta. p: A, B, C. C (m, n) = alpha A B + beta C; a transposed
 * matrix lies in memory as (k, m) or (n, k). */
KERNEL(matrix_product) {
    const long long m = op.n[0], n = op.n[1], k = op.n[2];
    const bool turned_a = op.n[3], turned_b = op.n[4];
    multiply<Real>(matrix<Real>(op, 0, turned_a ? m : k, turned_a), matrix<Real>(op, 1, turned_b ? k : n, turned_b),
                   array<Real>(op, 2), m, n, k, Real(op.c[0]), Real(op.c[1]));
}

/* n: rows, k. p: dz, out. out = column sums of dz. */
KERNEL(column_sum) {
    const Real *dz = array<const Real>(op, 0);
    const long long k = op.n[1];
    sum_columns<1, Real>(
        op, op.n[0], k, [=](long long i, long long j, Real *sums) { sums[0] += dz[i * k + j]; },
        [=](long long j, const Real *sums) { array<Real>(op, 1)[j] = sums[0]; });
}

} // namespace mlpx
