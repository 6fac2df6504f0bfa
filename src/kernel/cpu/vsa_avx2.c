/* vsa rows with AVX2; the body is shared, kernel/cpu/vsa_simd.inc. */
#if defined(__x86_64__)
#include "kernel/cpu/vsa_simd.inc"
#else
typedef int swan_no_vsa_avx2; /* a file must hold something */
#endif
