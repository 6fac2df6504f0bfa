/* wgmma for fp16 operands with fp32 accumulators (sm_90a); operand layouts and helpers as in common/wgmma.cuh. */
#ifndef SWAN_KERNEL_CUDA_CONV_WGMMA_F16_CUH
#define SWAN_KERNEL_CUDA_CONV_WGMMA_F16_CUH

#include "kernel/cuda/common/wgmma.cuh"

#if SWAN_SM90A

/* Descriptor of a K-major operand whose groups of eight rows stand `group_bytes` apart: rows of 64 values at a pitch of 128 B,
 * swizzled by the bits of their own address, so that any row of a tile may come first. */
SWAN_DEV uint64_t swan_wgmma_desc_rows(uint32_t addr, uint32_t group_bytes)
{
    return (uint64_t)((addr & 0x3FFFFu) >> 4) | (1ull << 16) | ((uint64_t)(group_bytes >> 4) << 32) | (1ull << 62);
}

#define SWAN_WG_L32 SWAN_WG_S0 SWAN_WG_S1 SWAN_WG_S2 "%24,%25,%26,%27,%28,%29,%30,%31"

/* d = (keep ? d : 0) + A B for one k16; A [64, 16] and B [16, N] through descriptors, both K-major. */
#define SWAN_WG_SS_F16(N, LIST, BIND, a, b, p)                                                                       \
    SWAN_DEV void swan_wgmma_ss_f16(float(&d)[N / 2], uint64_t da, uint64_t db, int keep)                            \
    {                                                                                                                \
        asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %" #p ", 0;\n\t"                                          \
                     "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.f16.f16 {" LIST "}, %" #a ", %" #b              \
                     ", p, 1, 1, 0, 0;\n\t}"                                                                         \
                     : BIND                                                                                          \
                     : "l"(da), "l"(db), "r"(keep));                                                                 \
    }
SWAN_WG_SS_F16(64, SWAN_WG_L32, SWAN_WG_D32(0), 32, 33, 34)
SWAN_WG_SS_F16(128, SWAN_WG_L64, SWAN_WG_D64, 64, 65, 66)

#endif /* SWAN_SM90A */
#endif
