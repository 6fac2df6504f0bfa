/* One vector type, `vf`, for kernels that are written once and compiled twice: 16 floats in *_avx512.c, 8 in *_avx2.c
 * (the build gives those files their flags). A kernel's body stands in a *_simd.inc file that both include;
 * SWAN_SIMD(name) gives the two copies their own external names. Without the flags this header is empty. */
#ifndef SWAN_KERNEL_CPU_SIMD_H
#define SWAN_KERNEL_CPU_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include <immintrin.h>

#define SWAN_INLINE static inline __attribute__((always_inline, unused))

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)

#define SWAN_SIMD(name) name##_avx512
#define VF_LANES 16
typedef __m512 vf;
typedef __mmask16 vf_mask;

SWAN_INLINE vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
SWAN_INLINE void vf_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
/* The first n (0..VF_LANES) floats; the others are 0 and their memory is not touched. */
SWAN_INLINE vf vf_load_n(const float *p, int64_t n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p); }
SWAN_INLINE void vf_store_n(float *p, vf a, int64_t n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), a); }
SWAN_INLINE vf vf_set1(float a) { return _mm512_set1_ps(a); }
SWAN_INLINE vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
SWAN_INLINE vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
SWAN_INLINE vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
SWAN_INLINE vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
/* a * b + c, c - a * b and a * b - c with one rounding. */
SWAN_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
SWAN_INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
SWAN_INLINE vf vf_fms(vf a, vf b, vf c) { return _mm512_fmsub_ps(a, b, c); }
/* When either is a NaN the result is b. */
SWAN_INLINE vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
SWAN_INLINE vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
SWAN_INLINE vf vf_abs(vf a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
/* |a| with the sign of b. */
SWAN_INLINE vf vf_copysign(vf a, vf b)
{
    __m512 sign = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(sign, a), _mm512_and_ps(sign, b));
}
SWAN_INLINE vf vf_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
SWAN_INLINE vf_mask vf_less(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
SWAN_INLINE vf vf_select(vf_mask m, vf yes, vf no) { return _mm512_mask_blend_ps(m, no, yes); }
/* p * 2^n for whole n of -216..192, one rounding. */
SWAN_INLINE vf vf_ldexp(vf p, vf n) { return _mm512_scalef_ps(p, n); }
/* Lane 2i and 2i + 1 exchanged; the even lane in both; the odd lane in both; even lanes a * b - c, odd lanes a * b +
 * c. */
SWAN_INLINE vf vf_swap_pairs(vf a) { return _mm512_permute_ps(a, 0xB1); }
SWAN_INLINE vf vf_dup_even(vf a) { return _mm512_moveldup_ps(a); }
SWAN_INLINE vf vf_dup_odd(vf a) { return _mm512_movehdup_ps(a); }
SWAN_INLINE vf vf_fmaddsub(vf a, vf b, vf c) { return _mm512_fmaddsub_ps(a, b, c); }
SWAN_INLINE vf vf_load_bf16(const uint16_t *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
SWAN_INLINE vf vf_load_f16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
SWAN_INLINE __m256 vf_low(vf a) { return _mm512_castps512_ps256(a); }
SWAN_INLINE __m256 vf_high(vf a) { return _mm512_extractf32x8_ps(a, 1); }

#else

#define SWAN_SIMD(name) name##_avx2
#define VF_LANES 8
typedef __m256 vf;
typedef __m256 vf_mask;

SWAN_INLINE __m256i vf_first(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
SWAN_INLINE vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
SWAN_INLINE void vf_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
SWAN_INLINE vf vf_load_n(const float *p, int64_t n) { return _mm256_maskload_ps(p, vf_first(n)); }
SWAN_INLINE void vf_store_n(float *p, vf a, int64_t n) { _mm256_maskstore_ps(p, vf_first(n), a); }
SWAN_INLINE vf vf_set1(float a) { return _mm256_set1_ps(a); }
SWAN_INLINE vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
SWAN_INLINE vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
SWAN_INLINE vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
SWAN_INLINE vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
SWAN_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
SWAN_INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
SWAN_INLINE vf vf_fms(vf a, vf b, vf c) { return _mm256_fmsub_ps(a, b, c); }
SWAN_INLINE vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
SWAN_INLINE vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
SWAN_INLINE vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
SWAN_INLINE vf vf_copysign(vf a, vf b)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, b));
}
SWAN_INLINE vf vf_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
SWAN_INLINE vf_mask vf_less(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
SWAN_INLINE vf vf_select(vf_mask m, vf yes, vf no) { return _mm256_blendv_ps(no, yes, m); }
SWAN_INLINE vf vf_ldexp(vf p, vf n)
{
    /* two factors, each a normal number; the first product is exact, so that a subnormal result is rounded once */
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    __m256i rest = _mm256_sub_epi32(whole, half), bias = _mm256_set1_epi32(127);
    __m256 first = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    __m256 second = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(p, first), second);
}
SWAN_INLINE vf vf_swap_pairs(vf a) { return _mm256_permute_ps(a, 0xB1); }
SWAN_INLINE vf vf_dup_even(vf a) { return _mm256_moveldup_ps(a); }
SWAN_INLINE vf vf_dup_odd(vf a) { return _mm256_movehdup_ps(a); }
SWAN_INLINE vf vf_fmaddsub(vf a, vf b, vf c) { return _mm256_fmaddsub_ps(a, b, c); }
SWAN_INLINE vf vf_load_bf16(const uint16_t *p)
{
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
SWAN_INLINE vf vf_load_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }

#endif

SWAN_INLINE vf vf_zero(void) { return vf_set1(0); }

/* Sum and maximum of the lanes, in a fixed order. */
SWAN_INLINE float vf_sum(vf a)
{
#if VF_LANES == 16
    __m256 b = _mm256_add_ps(vf_low(a), vf_high(a));
#else
    __m256 b = a;
#endif
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

SWAN_INLINE float vf_largest(vf a)
{
#if VF_LANES == 16
    __m256 b = _mm256_max_ps(vf_low(a), vf_high(a));
#else
    __m256 b = a;
#endif
    __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_max_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

#endif
#endif
