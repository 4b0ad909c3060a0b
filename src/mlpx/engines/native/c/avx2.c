/* The kernels for processors with AVX2 and FMA. */
#if defined(__x86_64__)
#define ISA_AVX2
#include "table.inc"
#endif
