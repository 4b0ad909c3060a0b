/* The kernels for every processor. */
#include "table.inc"
