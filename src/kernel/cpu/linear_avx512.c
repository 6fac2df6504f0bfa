/* linear rows with AVX-512; the body is shared, kernel/cpu/linear_simd.inc. */
#if defined(__x86_64__)
#include "kernel/cpu/linear_simd.inc"
#else
typedef int swan_no_linear_avx512; /* a file must hold something */
#endif
