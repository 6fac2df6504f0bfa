/* The inner steps of flash attention on sm_90a for one consumer warpgroup: 64 query rows, D = 128, blocks of 128
 * keys. Source of the method: FlashAttention-3 (arXiv 2407.08608).
 *
 * Shared memory: Q is two tiles [64 rows][64 columns] of 8 KiB; a block of K or V two tiles [128 rows][64 columns] of
 * 16 KiB; 128-byte swizzle. Registers: see common/wgmma.cuh for which thread holds what. */
#ifndef SWAN_KERNEL_CUDA_ATTN_FLASH_SM90_CUH
#define SWAN_KERNEL_CUDA_ATTN_FLASH_SM90_CUH

#include "kernel/cuda/common/wgmma.cuh"

#define SWAN_FLASH_Q_BYTES (64 * 256)
#define SWAN_FLASH_KEYS 128
#define SWAN_FLASH_TILE_BYTES (SWAN_FLASH_KEYS * 128)

#if SWAN_SM90A

/* S = Q K^T for 64 rows: 8 steps of k16 over D = 128. */
SWAN_DEV void swan_flash_qk(float (&s)[SWAN_FLASH_KEYS / 2], uint32_t q, uint32_t k)
{
    const uint64_t dq = swan_wgmma_desc(q, 0), dk = swan_wgmma_desc(k, 0);
#pragma unroll
    for (int i = 0; i < 8; i++)
        swan_wgmma_ss(s, dq + (i >> 2) * (SWAN_FLASH_Q_BYTES / 2 >> 4) + (i & 3) * 2,
                      dk + (i >> 2) * (SWAN_FLASH_TILE_BYTES >> 4) + (i & 3) * 2, i > 0);
    swan_wgmma_commit();
}

/* O += P V. */
SWAN_DEV void swan_flash_pv(float (&o)[64], uint32_t (&pr)[SWAN_FLASH_KEYS / 4], uint32_t v)
{
    const uint64_t dv = swan_wgmma_desc(v, SWAN_FLASH_TILE_BYTES);
#pragma unroll
    for (int i = 0; i < SWAN_FLASH_KEYS / 16; i++)
        swan_wgmma_rs_mn(o, pr[4 * i], pr[4 * i + 1], pr[4 * i + 2], pr[4 * i + 3], dv + i * (2048 >> 4));
    swan_wgmma_commit();
}

/* Online softmax of one block, in place: s becomes 2^(s*scale_log2 - max). m, l: rows g and g+8 of the quad; l stays
 * a thread's own partial sum. corr: what earlier sums must be multiplied with. */
SWAN_DEV void swan_flash_softmax(float (&s)[SWAN_FLASH_KEYS / 2], float (&m)[2], float (&l)[2], float (&corr)[2],
                                 float scale_log2)
{
    float top[2] = {s[0], s[2]};
#pragma unroll
    for (int j = 0; j < SWAN_FLASH_KEYS / 8; j++) {
        top[0] = fmaxf(top[0], fmaxf(s[4 * j], s[4 * j + 1]));
        top[1] = fmaxf(top[1], fmaxf(s[4 * j + 2], s[4 * j + 3]));
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        top[r] = fmaxf(top[r], __shfl_xor_sync(0xffffffffu, top[r], 1));
        top[r] = fmaxf(top[r], __shfl_xor_sync(0xffffffffu, top[r], 2));
        top[r] = fmaxf(top[r], m[r]);
        corr[r] = swan_exp2((m[r] - top[r]) * scale_log2);
        m[r] = top[r];
        top[r] *= scale_log2;
        l[r] *= corr[r];
    }
#pragma unroll
    for (int j = 0; j < SWAN_FLASH_KEYS / 8; j++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
            s[4 * j + e] = swan_exp2(fmaf(s[4 * j + e], scale_log2, -top[e >> 1]));
            l[e >> 1] += s[4 * j + e];
        }
    }
}

/* ptxas sinks the exponentials below the wait for P V, where nothing of this warpgroup overlaps them. A store that
 * depends on their sum, and never happens, holds them above it. */
SWAN_DEV void swan_flash_hold(float sum, uint32_t addr)
{
    asm volatile("{\n\t.reg .pred p;\n\tsetp.lt.f32 p, %0, 0f00000000;\n\t@p st.shared.f32 [%1], %0;\n\t}" ::"f"(sum),
                 "r"(addr)
                 : "memory");
}

SWAN_DEV void swan_flash_round_p(uint32_t (&pr)[SWAN_FLASH_KEYS / 4], const float (&s)[SWAN_FLASH_KEYS / 2])
{
#pragma unroll
    for (int i = 0; i < SWAN_FLASH_KEYS / 4; i++) pr[i] = swan_pack_bf16(s[2 * i], s[2 * i + 1]);
}

/* Normalises 64 rows and writes them as bf16 to `to`, laid out as Q was. l: this thread's partial row sums. */
SWAN_DEV void swan_flash_stage_out(const float (&o)[64], float (&l)[2], uint32_t to)
{
    const int t = threadIdx.x & 127, lane = t & 31, row = (t >> 5) * 16 + (lane & 15);
    float inv[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        l[r] += __shfl_xor_sync(0xffffffffu, l[r], 1);
        l[r] += __shfl_xor_sync(0xffffffffu, l[r], 2);
        inv[r] = 1.0f / l[r];
    }
#pragma unroll
    for (int c = 0; c < 8; c++) {
        const int chunk = 2 * c + (lane >> 4);
        const uint32_t at =
            to + (chunk >> 3) * (SWAN_FLASH_Q_BYTES / 2) + row * 128 + (((chunk & 7) ^ (row & 7)) << 4);
        swan_stmatrix_x4(at, swan_pack_bf16(o[8 * c] * inv[0], o[8 * c + 1] * inv[0]),
                         swan_pack_bf16(o[8 * c + 2] * inv[1], o[8 * c + 3] * inv[1]),
                         swan_pack_bf16(o[8 * c + 4] * inv[0], o[8 * c + 5] * inv[0]),
                         swan_pack_bf16(o[8 * c + 6] * inv[1], o[8 * c + 7] * inv[1]));
    }
}

#endif /* SWAN_SM90A */
#endif
