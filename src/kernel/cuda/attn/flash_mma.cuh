/* The inner steps of flash attention through mma.sync, sm_80 and up, for one warp: MT x 16 query rows, head width D, blocks of
 * BN keys. Source of the method: FlashAttention-2 (arXiv 2307.08691).
 *
 * Shared memory: rows of D bf16 whose 16-byte chunks are swizzled, so that ldmatrix has no bank conflicts; every tile begins at
 * a multiple of 1 KiB. Registers: see common/mma.cuh for which lane holds what. */
#ifndef SWAN_KERNEL_CUDA_ATTN_FLASH_MMA_CUH
#define SWAN_KERNEL_CUDA_ATTN_FLASH_MMA_CUH

#include "kernel/cuda/common/convert.cuh"
#include "kernel/cuda/common/gated.cuh"
#include "kernel/cuda/common/mma.cuh"

#include <cuda_bf16.h>

/* Offset of 16-byte chunk `chunk` of row `row`. */
template <int D> SWAN_DEV uint32_t swan_flash_mma_at(int row, int chunk)
{
    return (uint32_t)(row * 2 * D + ((chunk ^ (row & 7)) << 4));
}
/* This lane's ldmatrix address of 16 rows x 16 columns from column 0 on, as operand A (or, transposed, as B of 16 keys); another
 * 16 columns: ^ 32 * i. The same for operand B from rows of keys. */
template <int D> SWAN_DEV uint32_t swan_flash_mma_lane_a(void)
{
    const int lane = (int)threadIdx.x & 31;
    return swan_flash_mma_at<D>(lane & 15, lane >> 4);
}
template <int D> SWAN_DEV uint32_t swan_flash_mma_lane_b(void)
{
    const int lane = (int)threadIdx.x & 31;
    return swan_flash_mma_at<D>((lane & 7) + ((lane >> 4) << 3), (lane >> 3) & 1);
}

/* A block of THREADS threads copies ROWS rows of D; those from `count` on become zeros. */
template <int D, int ROWS, int THREADS>
SWAN_DEV void swan_flash_mma_copy(uint32_t dst, const __nv_bfloat16 *src, int64_t ld, int count)
{
    constexpr int CHUNKS = D / 8, STEP = THREADS / CHUNKS;
    const int chunk = (int)threadIdx.x % CHUNKS, row = (int)threadIdx.x / CHUNKS;
    src += row * ld + chunk * 8;
#pragma unroll
    for (int i = 0; i < ROWS / STEP; i++)
        swan_copy16(dst + swan_flash_mma_at<D>(row + i * STEP, chunk), src + i * STEP * ld, row + i * STEP < count);
}

SWAN_DEV void swan_flash_mma_put(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    swan_mma(d, a[0], a[1], a[2], a[3], b0, b1);
}

/* Columns 16 step .. + 15 of the warp's rows as operand A. */
template <int D, int MT>
SWAN_DEV void swan_flash_mma_load_q(uint32_t (&a)[MT][4], const uint32_t (*q_regs)[4], uint32_t q, int step)
{
#pragma unroll
    for (int i = 0; i < MT; i++) {
        if (!q_regs) swan_ldmatrix_x4(a[i], (q ^ (step * 32)) + i * 32 * D);
        else
#pragma unroll
            for (int e = 0; e < 4; e++) a[i][e] = q_regs[step][e];
    }
}

/* s = q k^T. q: address of this lane's fragment of the warp's first 16 rows (lane_a), or registers when MT is 1; k: lane_b. */
template <int D, int MT, int BN>
SWAN_DEV void swan_flash_mma_qk(float (&s)[MT][BN / 8][4], const uint32_t (*q_regs)[4], uint32_t q, uint32_t k)
{
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int j = 0; j < BN / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) s[i][j][e] = 0.0f;
    constexpr int PAIRS = BN / 16; /* of eight keys */
    uint32_t a[2][MT][4], b[2][4];
    swan_flash_mma_load_q<D, MT>(a[0], q_regs, q, 0);
    swan_ldmatrix_x4(b[0], k);
#pragma unroll
    for (int step = 0; step < D / 16; step++) {
        if (step + 1 < D / 16) swan_flash_mma_load_q<D, MT>(a[(step + 1) & 1], q_regs, q, step + 1);
#pragma unroll
        for (int j = 0; j < PAIRS; j++) { /* loads one pair ahead of the products */
            const int at = step * PAIRS + j, next = at + 1;
            if (next < D / 16 * PAIRS) swan_ldmatrix_x4(b[next & 1], (k ^ (next / PAIRS * 32)) + next % PAIRS * 32 * D);
#pragma unroll
            for (int i = 0; i < MT; i++) {
                swan_flash_mma_put(s[i][2 * j], a[step & 1][i], b[at & 1][0], b[at & 1][1]);
                swan_flash_mma_put(s[i][2 * j + 1], a[step & 1][i], b[at & 1][2], b[at & 1][3]);
            }
        }
    }
}

/* Statistics of the warp's rows: of row g in [i][0], of g + 8 in [i][1]; l is a lane's own part of the sum. */
template <int MT> struct swan_flash_mma_stats {
    float m[MT][2], l[MT][2];
};

template <int D, int MT> SWAN_DEV void swan_flash_mma_begin(float (&o)[MT][D / 8][4], swan_flash_mma_stats<MT> &st)
{
#pragma unroll
    for (int i = 0; i < MT; i++) {
        st.m[i][0] = st.m[i][1] = -1e30f; /* not -inf: a block whose keys are all masked must not make NaN */
        st.l[i][0] = st.l[i][1] = 0.0f;
#pragma unroll
        for (int j = 0; j < D / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) o[i][j][e] = 0.0f;
    }
}

/* One step of the online softmax: s becomes 2^(s * scale - max), o and l are brought to the new maximum. */
template <int D, int MT, int BN>
SWAN_DEV void swan_flash_mma_softmax(float (&s)[MT][BN / 8][4], float (&o)[MT][D / 8][4], swan_flash_mma_stats<MT> &st,
                                     float scale)
{
#pragma unroll
    for (int i = 0; i < MT; i++) {
        float top[2] = {s[i][0][0], s[i][0][2]}, corr[2];
#pragma unroll
        for (int j = 0; j < BN / 8; j++) {
            top[0] = fmaxf(top[0], fmaxf(s[i][j][0], s[i][j][1]));
            top[1] = fmaxf(top[1], fmaxf(s[i][j][2], s[i][j][3]));
        }
#pragma unroll
        for (int r = 0; r < 2; r++) {
            top[r] = fmaxf(top[r], __shfl_xor_sync(0xffffffffu, top[r], 1));
            top[r] = fmaxf(top[r], __shfl_xor_sync(0xffffffffu, top[r], 2));
            top[r] = fmaxf(top[r], st.m[i][r]);
            corr[r] = swan_exp2((st.m[i][r] - top[r]) * scale);
            st.m[i][r] = top[r];
            st.l[i][r] *= corr[r];
            top[r] *= scale;
        }
        if (__any_sync(0xffffffffu, corr[0] != 1.0f || corr[1] != 1.0f)) { /* seldom, once the largest keys were seen */
#pragma unroll
            for (int j = 0; j < D / 8; j++)
#pragma unroll
                for (int e = 0; e < 4; e++) o[i][j][e] *= corr[e >> 1];
        }
#pragma unroll
        for (int j = 0; j < BN / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                s[i][j][e] = swan_exp2(fmaf(s[i][j][e], scale, -top[e >> 1]));
                st.l[i][e >> 1] += s[i][j][e];
            }
    }
}

/* o += s v, s rounded to bf16. v: lane_a of the block's first 16 keys. */
template <int D, int MT, int BN>
SWAN_DEV void swan_flash_mma_pv(float (&o)[MT][D / 8][4], const float (&s)[MT][BN / 8][4], uint32_t v)
{
#pragma unroll
    for (int step = 0; step < BN / 16; step++) {
        uint32_t a[MT][4], b[2][4];
#pragma unroll
        for (int i = 0; i < MT; i++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                a[i][e] = swan_pack_bf16(s[i][2 * step + (e >> 1)][2 * (e & 1)], s[i][2 * step + (e >> 1)][2 * (e & 1) + 1]);
        swan_ldmatrix_x4_trans(b[0], v + step * 32 * D);
#pragma unroll
        for (int j = 0; j < D / 16; j++) {
            if (j + 1 < D / 16) swan_ldmatrix_x4_trans(b[(j + 1) & 1], (v ^ ((j + 1) * 32)) + step * 32 * D);
#pragma unroll
            for (int i = 0; i < MT; i++) {
                swan_flash_mma_put(o[i][2 * j], a[i], b[j & 1][0], b[j & 1][1]);
                swan_flash_mma_put(o[i][2 * j + 1], a[i], b[j & 1][2], b[j & 1][3]);
            }
        }
    }
}

/* Normalises a warp's MT x 16 rows and writes the first `rows` of them, with what `add` adds to these, to out; stage:
 * 32 * D * MT bytes of the warp's own. */
template <int D, int MT>
SWAN_DEV void swan_flash_mma_store(__nv_bfloat16 *out, int64_t ld, int rows, const float (&o)[MT][D / 8][4],
                                   swan_flash_mma_stats<MT> &st, uint32_t stage, const swan_gated_rows &add = {})
{
    constexpr int CHUNKS = D / 8;
    const int lane = (int)threadIdx.x & 31, g = lane >> 2, t = lane & 3;
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float l = st.l[i][r];
            l += __shfl_xor_sync(0xffffffffu, l, 1);
            l += __shfl_xor_sync(0xffffffffu, l, 2);
            const float inverse = 1.0f / l;
#pragma unroll
            for (int j = 0; j < CHUNKS; j++) {
                const uint32_t pair = swan_pack_bf16(o[i][j][2 * r] * inverse, o[i][j][2 * r + 1] * inverse);
                asm volatile("st.shared.b32 [%0], %1;" ::"r"(stage + swan_flash_mma_at<D>(16 * i + 8 * r + g, j) + 4 * t),
                             "r"(pair)
                             : "memory");
            }
        }
    __syncwarp();
    const int chunk = lane % CHUNKS;
#pragma unroll 4
    for (int r = lane / CHUNKS; r < 16 * MT; r += 32 / CHUNKS) {
        uint4 v = swan_lds16(stage + swan_flash_mma_at<D>(r, chunk));
        if (r >= rows) continue;
        if (add.gate)
            v = swan_gated_sum(v, swan_load_stream(add.gate + r * add.ld + chunk * 8), __ldg((const uint4 *)(add.coarse + chunk * 8)));
        *(uint4 *)(out + r * ld + chunk * 8) = v;
    }
}

#endif
