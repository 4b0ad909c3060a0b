/* The kernels for processors with AVX-512. */
#if defined(__x86_64__)
#define ISA_AVX512
#include "table.inc"
#endif
