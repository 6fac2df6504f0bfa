/* elem rows with AVX-512; the body is shared, kernel/cpu/elem_simd.inc. */
#if defined(__x86_64__)
#include "kernel/cpu/elem_simd.inc"
#else
typedef int swan_no_elem_avx512; /* a file must hold something */
#endif
