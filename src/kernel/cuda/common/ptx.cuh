/* Thin wrappers over the PTX that the fast kernels need: mbarriers, TMA, named barriers, register hand-over, launch
 * dependence. Source of the semantics: the PTX ISA (mbarrier, cp.async.bulk.tensor, setmaxnreg, griddepcontrol).
 *
 * All shared-memory addresses are 32-bit `.shared` addresses (swan_smem_u32). Hopper-only parts exist only where the
 * compiler targets sm_90a; SWAN_SM90A says so. Elsewhere a kernel that uses them must compile to an empty body. */
#ifndef SWAN_KERNEL_CUDA_COMMON_PTX_CUH
#define SWAN_KERNEL_CUDA_COMMON_PTX_CUH

#include <cuda.h>
#include <stdint.h>

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define SWAN_SM90A 1
#else
#define SWAN_SM90A 0
#endif

#define SWAN_DEV static __device__ __forceinline__

SWAN_DEV uint32_t swan_smem_u32(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }

SWAN_DEV float swan_exp2(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Two floats as bf16x2, `lo` in the low half (the lower address). Round to nearest even. */
SWAN_DEV uint32_t swan_pack_bf16(float lo, float hi)
{
    uint32_t r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
}

/* Named barriers 1..15 among `threads` threads: sync waits, arrive does not. */
SWAN_DEV void swan_bar_sync(int id, int threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
SWAN_DEV void swan_bar_arrive(int id, int threads)
{
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/* Four 8x8 b16 matrices from registers to shared memory; lane l gives the row address of matrix l/8, row l%8. */
SWAN_DEV void swan_stmatrix_x4(uint32_t addr, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
#if SWAN_SM90A
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(addr), "r"(a), "r"(b), "r"(c),
                 "r"(d)
                 : "memory");
#endif
}

#if SWAN_SM90A

/* ---- mbarrier: `bar` is the shared address of a 64-bit object ---- */
SWAN_DEV void swan_mbar_init(uint32_t bar, uint32_t count)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count) : "memory");
}
/* Makes the inits visible to the copy engine and to the other CTAs of the cluster. */
SWAN_DEV void swan_mbar_init_fence(void) { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

SWAN_DEV void swan_mbar_arrive(uint32_t bar)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory");
}
SWAN_DEV void swan_mbar_expect_tx(uint32_t bar, uint32_t bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
}
/* The same without arriving: for bytes that are announced in several portions before one arrival. */
SWAN_DEV void swan_mbar_expect_more(uint32_t bar, uint32_t bytes)
{
    asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
}
/* Arrive on the barrier at the same offset in CTA `cta` of the cluster. */
SWAN_DEV void swan_mbar_arrive_cta(uint32_t bar, uint32_t cta)
{
    asm volatile("{\n\t.reg .b32 remote;\n\t"
                 "mapa.shared::cluster.u32 remote, %0, %1;\n\t"
                 "mbarrier.arrive.shared::cluster.b64 _, [remote];\n\t}" ::"r"(bar),
                 "r"(cta)
                 : "memory");
}
/* Waits until the phase with this parity has completed. A fresh barrier counts as having completed parity 1. */
SWAN_DEV void swan_mbar_wait(uint32_t bar, uint32_t parity)
{
    asm volatile("{\n\t.reg .pred p;\n"
                 "L_again:\n\t"
                 "mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n\t"
                 "@p bra L_done;\n\t"
                 "bra L_again;\n"
                 "L_done:\n\t}" ::"r"(bar),
                 "r"(parity)
                 : "memory");
}

/* ---- TMA tensor copies. L2 eviction hints as CUTLASS encodes them. ---- */
#define SWAN_L2_EVICT_FIRST 0x12F0000000000000ull
#define SWAN_L2_EVICT_NORMAL 0x1000000000000000ull
#define SWAN_L2_EVICT_LAST 0x14F0000000000000ull

SWAN_DEV void swan_tma_load_2d(uint32_t dst, const CUtensorMap *map, uint32_t bar, int x, int y, uint64_t hint)
{
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint"
        " [%0], [%1, {%3,%4}], [%2], %5;" ::
            "r"(dst),
        "l"(map), "r"(bar), "r"(x), "r"(y), "l"(hint)
        : "memory");
}
/* The same box to the same offset in every CTA of `mask`, completing on each one's own barrier. */
SWAN_DEV void swan_tma_load_2d_multicast(uint32_t dst, const CUtensorMap *map, uint32_t bar, int x, int y,
                                         uint16_t mask, uint64_t hint)
{
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint"
        " [%0], [%1, {%3,%4}], [%2], %5, %6;" ::"r"(dst),
        "l"(map), "r"(bar), "r"(x), "r"(y), "h"(mask), "l"(hint)
        : "memory");
}
SWAN_DEV void swan_tma_store_2d(const CUtensorMap *map, uint32_t src, int x, int y)
{
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2,%3}], [%1];" ::"l"(map), "r"(src),
                 "r"(x), "r"(y)
                 : "memory");
}
SWAN_DEV void swan_tma_store_2d(const CUtensorMap *map, uint32_t src, int x, int y, uint64_t hint)
{
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group.L2::cache_hint [%0, {%2,%3}], [%1], %4;" ::"l"(map), "r"(src),
                 "r"(x), "r"(y), "l"(hint)
                 : "memory");
}
SWAN_DEV void swan_tma_commit(void) { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
/* Waits until at most N of this thread's store groups still read shared memory. */
template <int N> SWAN_DEV void swan_tma_wait_read(void)
{
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}
template <int N> SWAN_DEV void swan_tma_wait(void)
{
    asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory");
}

/* Generic-proxy writes to shared memory become visible to wgmma and TMA: every writing thread, before the barrier. */
SWAN_DEV void swan_fence_async_shared(void) { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/* ---- cluster ---- */
SWAN_DEV uint32_t swan_cluster_rank(void)
{
    uint32_t r;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
    return r;
}
/* 16 bytes to the same offset in CTA `cta` of the cluster. */
SWAN_DEV void swan_cluster_store(uint32_t addr, uint32_t cta, const float4 &v)
{
    asm volatile("{\n\t.reg .b32 remote;\n\t"
                 "mapa.shared::cluster.u32 remote, %0, %1;\n\t"
                 "st.shared::cluster.v4.f32 [remote], {%2,%3,%4,%5};\n\t}" ::"r"(addr),
                 "r"(cta), "f"(v.x), "f"(v.y), "f"(v.z), "f"(v.w)
                 : "memory");
}
SWAN_DEV void swan_cluster_sync(void)
{
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/* ---- register hand-over between warpgroups. The sum over the block may not exceed what it was launched with: 384
 * threads at 168 registers are 64,512, which 24 + 2 x 240 and 40 + 2 x 232 fill exactly; 32 + 2 x 240 waits for ever.
 * ---- */
template <int N> SWAN_DEV void swan_reg_dec(void) { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N> SWAN_DEV void swan_reg_inc(void) { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }

#endif /* SWAN_SM90A */

/* ---- shared memory ---- */
SWAN_DEV uint4 swan_lds16(uint32_t addr)
{
    uint4 u;
    asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(u.x), "=r"(u.y), "=r"(u.z), "=r"(u.w) : "r"(addr) : "memory");
    return u;
}

/* ---- programmatic dependent launch: no-ops when the launch does not ask for it ---- */
SWAN_DEV void swan_grid_wait(void)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
SWAN_DEV void swan_grid_launch_dependents(void)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

#endif
