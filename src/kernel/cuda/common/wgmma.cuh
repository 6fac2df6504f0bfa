/* wgmma for bf16 and fp16 operands with fp32 accumulators (sm_90a): descriptors, ordering, and the tile widths the kernels
 * use. Source of the layouts: PTX ISA, "asynchronous warpgroup matrix".
 *
 * Accumulator d[N/2] of a thread: warp w of the warpgroup, g = lane/4, t = lane%4;
 *   d[4j + {0,1}] = row 16w + g,     columns 8j + 2t + {0,1}
 *   d[4j + {2,3}] = row 16w + g + 8, same columns.
 * A in registers (k16): a0 = row g, k 2t..; a1 = row g + 8; a2 = row g, k 8 + 2t..; a3 = row g + 8: so the
 * accumulators of one product, rounded to bf16, are the A operand of the next without any exchange.
 *
 * Operands in shared memory are 128-byte swizzled: rows of 64 bf16 at a pitch of 128 B, tiles aligned to 1024 B.
 *   K-major  (K or W: rows = n, columns = k): step of k16 = +32 B; the next 64 k are another tile.
 *   MN-major (V: rows = k, columns = n, `TransB` = 1): step of k16 = +2048 B; the next 64 n are `lead_bytes` further.
 */
#ifndef SWAN_KERNEL_CUDA_COMMON_WGMMA_CUH
#define SWAN_KERNEL_CUDA_COMMON_WGMMA_CUH

#include "kernel/cuda/common/ptx.cuh"

#if SWAN_SM90A

/* Descriptor of a 128-byte-swizzled tile. lead_bytes matters for MN-major operands wider than 64 alone. */
SWAN_DEV uint64_t swan_wgmma_desc(uint32_t addr, uint32_t lead_bytes)
{
    return (uint64_t)((addr & 0x3FFFFu) >> 4) | ((uint64_t)(lead_bytes >> 4) << 16) | ((uint64_t)(1024 >> 4) << 32) |
           (1ull << 62);
}

/* The same for a K-major tile whose groups of eight rows stand `group_bytes` apart. The swizzle goes by the bits of the address, so
 * that any row of a tile may come first. */
SWAN_DEV uint64_t swan_wgmma_desc_rows(uint32_t addr, uint32_t group_bytes)
{
    return (uint64_t)((addr & 0x3FFFFu) >> 4) | (1ull << 16) | ((uint64_t)(group_bytes >> 4) << 32) | (1ull << 62);
}

SWAN_DEV void swan_wgmma_fence(void) { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
SWAN_DEV void swan_wgmma_commit(void) { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> SWAN_DEV void swan_wgmma_wait(void)
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

/* Ties registers to this point of the program: the compiler may not move their reads above the wait before it. */
template <int N> SWAN_DEV void swan_wgmma_pin(float (&d)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+f"(d[i])::"memory");
}
template <int N> SWAN_DEV void swan_wgmma_pin(uint32_t (&d)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+r"(d[i])::"memory");
}

/* Operand lists: SWAN_WG_Sk names registers 8k..8k+7 in the text, SWAN_WG_D8 binds eight of them. */
#define SWAN_WG_S0 "%0,%1,%2,%3,%4,%5,%6,%7,"
#define SWAN_WG_S1 "%8,%9,%10,%11,%12,%13,%14,%15,"
#define SWAN_WG_S2 "%16,%17,%18,%19,%20,%21,%22,%23,"
#define SWAN_WG_S3 "%24,%25,%26,%27,%28,%29,%30,%31,"
#define SWAN_WG_S4 "%32,%33,%34,%35,%36,%37,%38,%39,"
#define SWAN_WG_S5 "%40,%41,%42,%43,%44,%45,%46,%47,"
#define SWAN_WG_S6 "%48,%49,%50,%51,%52,%53,%54,%55,"
#define SWAN_WG_S7 "%56,%57,%58,%59,%60,%61,%62,%63"
#define SWAN_WG_S8 "%64,%65,%66,%67,%68,%69,%70,%71,"
#define SWAN_WG_S9 "%72,%73,%74,%75,%76,%77,%78,%79,"
#define SWAN_WG_S10 "%80,%81,%82,%83,%84,%85,%86,%87,"
#define SWAN_WG_S11 "%88,%89,%90,%91,%92,%93,%94,%95,"
#define SWAN_WG_S12 "%96,%97,%98,%99,%100,%101,%102,%103,"
#define SWAN_WG_S13 "%104,%105,%106,%107,%108,%109,%110,%111,"
#define SWAN_WG_S14 "%112,%113,%114,%115,%116,%117,%118,%119,"
#define SWAN_WG_S15 "%120,%121,%122,%123,%124,%125,%126,%127"
#define SWAN_WG_L32 SWAN_WG_S0 SWAN_WG_S1 SWAN_WG_S2 "%24,%25,%26,%27,%28,%29,%30,%31"
#define SWAN_WG_L40 SWAN_WG_S0 SWAN_WG_S1 SWAN_WG_S2 SWAN_WG_S3 "%32,%33,%34,%35,%36,%37,%38,%39"
#define SWAN_WG_L48 SWAN_WG_S0 SWAN_WG_S1 SWAN_WG_S2 SWAN_WG_S3 SWAN_WG_S4 "%40,%41,%42,%43,%44,%45,%46,%47"
#define SWAN_WG_L64 SWAN_WG_S0 SWAN_WG_S1 SWAN_WG_S2 SWAN_WG_S3 SWAN_WG_S4 SWAN_WG_S5 SWAN_WG_S6 SWAN_WG_S7
#define SWAN_WG_L80 SWAN_WG_L64 "," SWAN_WG_S8 "%72,%73,%74,%75,%76,%77,%78,%79"
#define SWAN_WG_L96 SWAN_WG_L64 "," SWAN_WG_S8 SWAN_WG_S9 SWAN_WG_S10 "%88,%89,%90,%91,%92,%93,%94,%95"
#define SWAN_WG_L128                                                                                                 \
    SWAN_WG_L64 "," SWAN_WG_S8 SWAN_WG_S9 SWAN_WG_S10 SWAN_WG_S11 SWAN_WG_S12 SWAN_WG_S13 SWAN_WG_S14 SWAN_WG_S15

#define SWAN_WG_D8(i)                                                                                                \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]),      \
        "+f"(d[i + 7])
#define SWAN_WG_D32(i) SWAN_WG_D8(i), SWAN_WG_D8(i + 8), SWAN_WG_D8(i + 16), SWAN_WG_D8(i + 24)
#define SWAN_WG_D40 SWAN_WG_D32(0), SWAN_WG_D8(32)
#define SWAN_WG_D48 SWAN_WG_D32(0), SWAN_WG_D8(32), SWAN_WG_D8(40)
#define SWAN_WG_D64 SWAN_WG_D32(0), SWAN_WG_D32(32)
#define SWAN_WG_D80 SWAN_WG_D64, SWAN_WG_D8(64), SWAN_WG_D8(72)
#define SWAN_WG_D96 SWAN_WG_D64, SWAN_WG_D32(64)
#define SWAN_WG_D128 SWAN_WG_D64, SWAN_WG_D32(64), SWAN_WG_D32(96)

/* d = (keep ? d : 0) + A B for one k16; A [64, 16] and B [16, N] through descriptors, both K-major. a,b,p: operand
 * numbers. */
#define SWAN_WG_SS(NAME, TYPE, N, LIST, BIND, a, b, p)                                                               \
    SWAN_DEV void NAME(float(&d)[N / 2], uint64_t da, uint64_t db, int keep)                                         \
    {                                                                                                                \
        asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %" #p ", 0;\n\t"                                          \
                     "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " {" LIST "}, %" #a ", %" #b    \
                     ", p, 1, 1, 0, 0;\n\t}"                                                                         \
                     : BIND                                                                                          \
                     : "l"(da), "l"(db), "r"(keep));                                                                 \
    }
SWAN_WG_SS(swan_wgmma_ss, "bf16", 64, SWAN_WG_L32, SWAN_WG_D32(0), 32, 33, 34)
SWAN_WG_SS(swan_wgmma_ss, "bf16", 80, SWAN_WG_L40, SWAN_WG_D40, 40, 41, 42)
SWAN_WG_SS(swan_wgmma_ss, "bf16", 96, SWAN_WG_L48, SWAN_WG_D48, 48, 49, 50)
SWAN_WG_SS(swan_wgmma_ss, "bf16", 128, SWAN_WG_L64, SWAN_WG_D64, 64, 65, 66)
SWAN_WG_SS(swan_wgmma_ss, "bf16", 160, SWAN_WG_L80, SWAN_WG_D80, 80, 81, 82)
SWAN_WG_SS(swan_wgmma_ss, "bf16", 192, SWAN_WG_L96, SWAN_WG_D96, 96, 97, 98)
SWAN_WG_SS(swan_wgmma_ss, "bf16", 256, SWAN_WG_L128, SWAN_WG_D128, 128, 129, 130)
SWAN_WG_SS(swan_wgmma_ss_f16, "f16", 64, SWAN_WG_L32, SWAN_WG_D32(0), 32, 33, 34)
SWAN_WG_SS(swan_wgmma_ss_f16, "f16", 128, SWAN_WG_L64, SWAN_WG_D64, 64, 65, 66)

/* d += A B for one k16, N = 128: A in registers, B MN-major (the V of attention). */
SWAN_DEV void swan_wgmma_rs_mn(float (&d)[64], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint64_t db)
{
    asm volatile("{\n\t.reg .pred p;\n\tsetp.eq.b32 p, 0, 0;\n\t"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" SWAN_WG_L64
                 "}, {%64,%65,%66,%67}, %68, p, 1, 1, 1;\n\t}"
                 : SWAN_WG_D64
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(db));
}

#endif /* SWAN_SM90A */
#endif
