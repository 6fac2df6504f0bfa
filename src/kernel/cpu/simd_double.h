/* Vectors of doubles, `vd`, over floats in memory: 8 with AVX-512, 4 with AVX2. For statistics, samplers and scores
 * that decide something: memory-bound work where fp64 costs nothing. Empty without the flags that kernel/cpu/simd.h
 * wants. */
#ifndef SWAN_KERNEL_CPU_SIMD_DOUBLE_H
#define SWAN_KERNEL_CPU_SIMD_DOUBLE_H

#include "kernel/cpu/simd.h"

#ifdef VF_LANES

#if VF_LANES == 16
#define VD_LANES 8
typedef __m512d vd;

SWAN_INLINE vd vd_set1(double a) { return _mm512_set1_pd(a); }
SWAN_INLINE vd vd_add(vd a, vd b) { return _mm512_add_pd(a, b); }
SWAN_INLINE vd vd_sub(vd a, vd b) { return _mm512_sub_pd(a, b); }
SWAN_INLINE vd vd_mul(vd a, vd b) { return _mm512_mul_pd(a, b); }
SWAN_INLINE vd vd_fma(vd a, vd b, vd c) { return _mm512_fmadd_pd(a, b, c); }
/* Reads or writes the first n (0..VD_LANES) floats; the other lanes are 0. Doubles are rounded to the nearest float. */
SWAN_INLINE vd vd_load(const float *p, int64_t n)
{
    if (n >= VD_LANES) return _mm512_cvtps_pd(_mm256_loadu_ps(p));
    return _mm512_cvtps_pd(_mm256_maskz_loadu_ps((__mmask8)((1u << n) - 1u), p));
}
SWAN_INLINE void vd_store(float *p, vd a, int64_t n)
{
    if (n >= VD_LANES)
        _mm256_storeu_ps(p, _mm512_cvtpd_ps(a));
    else
        _mm256_mask_storeu_ps(p, (__mmask8)((1u << n) - 1u), _mm512_cvtpd_ps(a));
}
/* As their namesakes of vf. */
SWAN_INLINE vd vd_swap_pairs(vd a) { return _mm512_permute_pd(a, 0x55); }
SWAN_INLINE vd vd_dup_even(vd a) { return _mm512_movedup_pd(a); }
SWAN_INLINE vd vd_dup_odd(vd a) { return _mm512_permute_pd(a, 0xFF); }
SWAN_INLINE vd vd_fmaddsub(vd a, vd b, vd c) { return _mm512_fmaddsub_pd(a, b, c); }
SWAN_INLINE __m256d vd_halves(vd a) { return _mm256_add_pd(_mm512_castpd512_pd256(a), _mm512_extractf64x4_pd(a, 1)); }

#else
#define VD_LANES 4
typedef __m256d vd;

SWAN_INLINE vd vd_set1(double a) { return _mm256_set1_pd(a); }
SWAN_INLINE vd vd_add(vd a, vd b) { return _mm256_add_pd(a, b); }
SWAN_INLINE vd vd_sub(vd a, vd b) { return _mm256_sub_pd(a, b); }
SWAN_INLINE vd vd_mul(vd a, vd b) { return _mm256_mul_pd(a, b); }
SWAN_INLINE vd vd_fma(vd a, vd b, vd c) { return _mm256_fmadd_pd(a, b, c); }
SWAN_INLINE __m128i vd_first(int64_t n) { return _mm_cmpgt_epi32(_mm_set1_epi32((int)n), _mm_setr_epi32(0, 1, 2, 3)); }
SWAN_INLINE vd vd_load(const float *p, int64_t n)
{
    if (n >= VD_LANES) return _mm256_cvtps_pd(_mm_loadu_ps(p));
    return _mm256_cvtps_pd(_mm_maskload_ps(p, vd_first(n)));
}
SWAN_INLINE void vd_store(float *p, vd a, int64_t n)
{
    if (n >= VD_LANES)
        _mm_storeu_ps(p, _mm256_cvtpd_ps(a));
    else
        _mm_maskstore_ps(p, vd_first(n), _mm256_cvtpd_ps(a));
}
SWAN_INLINE vd vd_swap_pairs(vd a) { return _mm256_permute_pd(a, 0x5); }
SWAN_INLINE vd vd_dup_even(vd a) { return _mm256_movedup_pd(a); }
SWAN_INLINE vd vd_dup_odd(vd a) { return _mm256_permute_pd(a, 0xF); }
SWAN_INLINE vd vd_fmaddsub(vd a, vd b, vd c) { return _mm256_fmaddsub_pd(a, b, c); }
SWAN_INLINE __m256d vd_halves(vd a) { return a; }

#endif

/* Sum of the lanes, in a fixed order. */
SWAN_INLINE double vd_sum(vd a)
{
    __m256d b = vd_halves(a);
    __m128d c = _mm_add_pd(_mm256_castpd256_pd128(b), _mm256_extractf128_pd(b, 1));
    return _mm_cvtsd_f64(_mm_add_sd(c, _mm_unpackhi_pd(c, c)));
}

#endif
#endif
