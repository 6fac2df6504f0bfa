/* norm rows with AVX-512; the body is shared, kernel/cpu/norm_simd.inc. */
#if defined(__x86_64__)
#include "kernel/cpu/norm_simd.inc"
#else
typedef int swan_no_norm_avx512; /* a file must hold something */
#endif
