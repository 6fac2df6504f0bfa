/* Matrix products from packed panels, for the SIMD rows of linear, attn and conv: c (+)= a b with a row-major, b
 * packed, all f32.
 *
 * b [K, width] is cut into panels of GEMM_PANEL columns (the last one narrower, a whole number of vectors, zeros
 * beyond the matrix); a panel is stored [K][its width]. The kernel below keeps a block of c in registers: 24
 * accumulators with AVX-512 (6 x 64, 8 x 48, 12 x 32; 12 x 16 for thin matrices), 12 with AVX2 (6 x 16, 12 x 8). Each
 * element of a block is one chain of fused multiply-adds over K, then added to c. Rows come in whole groups: callers
 * give a with rows to spare. */
#ifndef SWAN_KERNEL_CPU_SIMD_GEMM_H
#define SWAN_KERNEL_CPU_SIMD_GEMM_H

#include "base/half.h"
#include "kernel/cpu/simd.h"
#include "tensor/tensor.h"

#ifdef VF_LANES

#if VF_LANES == 16
#define GEMM_PANEL 64
#else
#define GEMM_PANEL 16
#endif
/* Every group size divides this. */
#define GEMM_ROWS 24

/* One row group by one panel. a continues at a + a_step for each further segment of K (convolution: the next picture
 * row). */
typedef struct gemm_block {
    const float *a, *b;
    float *c;
    int64_t lda, ldc, K, segments, a_step;
    bool add; /* c += instead of c = */
} gemm_block;

SWAN_INLINE void gemm_kernel(const int rows, const int vectors, const gemm_block *g)
{
    vf sum[12][4];
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) sum[i][j] = vf_zero();
    const float *b = g->b;
    for (int64_t segment = 0; segment < g->segments; segment++) {
        const float *a = g->a + segment * g->a_step;
        const int64_t lda = g->lda;
        for (int64_t k = 0; k < g->K; k++, a++, b += vectors * VF_LANES) {
            vf column[4];
#pragma GCC unroll 4
            for (int j = 0; j < vectors; j++) column[j] = vf_load(b + j * VF_LANES);
#pragma GCC unroll 12
            for (int i = 0; i < rows; i++) {
                vf x = vf_set1(a[i * lda]);
#pragma GCC unroll 4
                for (int j = 0; j < vectors; j++) sum[i][j] = vf_fma(x, column[j], sum[i][j]);
            }
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) {
            float *c = g->c + i * g->ldc + j * VF_LANES;
            vf_store(c, g->add ? vf_add(vf_load(c), sum[i][j]) : sum[i][j]);
        }
}

#define GEMM_KERNEL(rows, vectors)                                                                                     \
    static __attribute__((noinline, unused)) void gemm_kernel_##rows##x##vectors(const gemm_block *g)                  \
    {                                                                                                                  \
        gemm_kernel(rows, vectors, g);                                                                                 \
    }
GEMM_KERNEL(12, 1)
#if VF_LANES == 16
GEMM_KERNEL(12, 2)
GEMM_KERNEL(8, 3)
GEMM_KERNEL(6, 4)
#else
GEMM_KERNEL(6, 2)
#endif
#undef GEMM_KERNEL

/* Columns of the panel that begins at column n of a matrix of N columns. */
SWAN_INLINE int64_t gemm_panel_width(int64_t N, int64_t n)
{
    int64_t left = (N - n + VF_LANES - 1) / VF_LANES * VF_LANES;
    return left < GEMM_PANEL ? left : GEMM_PANEL;
}

/* Columns of N with the zeros that fill the last panel. */
SWAN_INLINE int64_t gemm_padded(int64_t N) { return (N + VF_LANES - 1) / VF_LANES * VF_LANES; }

/* rows (rounded up to whole groups) of g->a by one panel of this width; g->c gets as many rows. */
static inline void gemm_rows(gemm_block g, int64_t rows, int64_t width)
{
#if VF_LANES == 16
    static void (*const kernels[])(const gemm_block *) = {gemm_kernel_12x1, gemm_kernel_12x2, gemm_kernel_8x3,
                                                          gemm_kernel_6x4};
    static const int64_t group[] = {12, 12, 8, 6};
#else
    static void (*const kernels[])(const gemm_block *) = {gemm_kernel_12x1, gemm_kernel_6x2};
    static const int64_t group[] = {12, 6};
#endif
    int64_t which = width / VF_LANES - 1;
    for (int64_t i = 0; i < rows; i += group[which]) {
        kernels[which](&g);
        g.a += group[which] * g.lda;
        g.c += group[which] * g.ldc;
    }
}

SWAN_INLINE __m256 gemm_load8(const void *w, swan_dtype dtype, int64_t at)
{
    switch (dtype) {
    case SWAN_BF16: {
        __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)((const uint16_t *)w + at)));
        return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
    }
    case SWAN_F16: return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)((const uint16_t *)w + at)));
    default: return _mm256_loadu_ps((const float *)w + at);
    }
}

SWAN_INLINE float gemm_load1(const void *w, swan_dtype dtype, int64_t at)
{
    switch (dtype) {
    case SWAN_BF16: return swan_bf16_to_f32(((const uint16_t *)w)[at]);
    case SWAN_F16: return _cvtsh_ss(((const uint16_t *)w)[at]);
    default: return ((const float *)w)[at];
    }
}

/* out[k][0..7] = row j, element k of eight rows, k 0..7, ld floats between the k. */
SWAN_INLINE void gemm_transpose8(const __m256 r[8], float *out, int64_t ld)
{
    __m256 t[8], u[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            u[i + 2 * j] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0x44);
            u[i + 2 * j + 1] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0xEE);
        }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(out + i * ld, _mm256_permute2f128_ps(u[i], u[i + 4], 0x20));
        _mm256_storeu_ps(out + (i + 4) * ld, _mm256_permute2f128_ps(u[i], u[i + 4], 0x31));
    }
}

/* A row-major matrix of any float type, of which rows (0 or more) are left. */
typedef struct gemm_source {
    const void *data;
    swan_dtype dtype;
    int64_t ld, rows;
} gemm_source;

/* panel [K][width]: panel[k][j] = w[j][k], zeros for the j that w does not have. */
SWAN_INLINE void gemm_pack_transposed(float *panel, gemm_source w, int64_t width, int64_t K)
{
    for (int64_t j = 0; j < width; j += 8) {
        int64_t k = 0;
        for (; k + 8 <= K; k += 8) {
            __m256 r[8];
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++)
                r[i] = j + i < w.rows ? gemm_load8(w.data, w.dtype, (j + i) * w.ld + k) : _mm256_setzero_ps();
            gemm_transpose8(r, panel + k * width + j, width);
        }
        for (; k < K; k++)
            for (int i = 0; i < 8; i++)
                panel[k * width + j + i] = j + i < w.rows ? gemm_load1(w.data, w.dtype, (j + i) * w.ld + k) : 0;
    }
}

#endif
#endif
