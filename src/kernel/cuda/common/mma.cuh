/* What the kernels for sm_80 and up share: mma.sync for bf16 and cp.async. Source of the layouts: PTX ISA.
 *
 * m16n8k16, g = lane / 4, t = lane % 4: a0 = row g, k 2t and 2t + 1; a1 = row g + 8; a2, a3 = the same rows, k + 8; b0 = column
 * g, k 2t and 2t + 1; b1 = k + 8; d0, d1 = row g, columns 2t and 2t + 1; d2, d3 = row g + 8. */
#ifndef SWAN_KERNEL_CUDA_COMMON_MMA_CUH
#define SWAN_KERNEL_CUDA_COMMON_MMA_CUH

#include "kernel/cuda/common/ptx.cuh"

/* d += a b, fp32 sums. */
SWAN_DEV void swan_mma(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

SWAN_DEV void swan_ldmatrix_x4(uint32_t (&r)[4], uint32_t addr)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(addr)
                 : "memory");
}
SWAN_DEV void swan_ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t addr)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(addr)
                 : "memory");
}

/* 16 bytes from global to shared memory past L1; zeros when !valid (`src` is not read then). */
SWAN_DEV void swan_copy16(uint32_t dst, const void *src, bool valid)
{
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(dst), "l"(src), "r"(valid ? 16 : 0) : "memory");
}
SWAN_DEV void swan_copy_commit(void) { asm volatile("cp.async.commit_group;" ::: "memory"); }
/* Waits until at most N of this thread's groups are on their way. */
template <int N> SWAN_DEV void swan_copy_wait(void) { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

#endif
