/* VSA's sum in a pass of its own: fine[l, :] += gate[l, :] * coarse[tile of l, :]. bf16, sm_80 and up. Source: VSA (arXiv 2505.13389).
 * Where block-sparse attention makes the fine branch it adds this itself (common/gated.cuh); here is what is left, lists of all tiles.
 *
 * Shapes: fine, gate bf16 [L, D], coarse bf16 [tiles, D]; D and strides multiples of 8, bases aligned to 16 B; tiles of any size.
 *
 * Numerics: product and sum rounded once.
 *
 * Roofline: three passes over [L, D], 302 MB at L = 32,760, D = 1536: 103 us at 2.93 TB/s.
 *
 * Measured, 2026-11-22, one H100 80GB SXM, `check_cuda bench vsa` (bench/LOG.md): 114 us, 2.65 TB/s (naive 249 us).
 *
 * Plan: one block a tile, 16 bytes a thread; the coarse row comes from L1. Nothing else tried. */
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/convert.cuh"
#include "kernel/cuda/common/gated.cuh"
#include "kernel/cuda/launch.h"

#include <cuda_runtime.h>

namespace
{

/* One block a tile. */
__global__ void __launch_bounds__(256) vsa_combine_vec(const swan_vsa_combine_args a)
{
    const int r0 = a.tile_start[blockIdx.x], r1 = a.tile_start[blockIdx.x + 1], vecs = (int)a.D / 8;
    swan_grid_wait();
    const __nv_bfloat16 *gate = (const __nv_bfloat16 *)a.gate,
                        *coarse = (const __nv_bfloat16 *)a.coarse + blockIdx.x * a.D;
    __nv_bfloat16 *fine = (__nv_bfloat16 *)a.fine;
#pragma unroll 4
    for (int i = (int)threadIdx.x; i < vecs * (r1 - r0); i += 256) {
        const int64_t r = r0 + i / vecs;
        const int at = i % vecs * 8;
        uint4 *f = (uint4 *)(fine + r * a.ld_fine + at);
        *f = swan_gated_sum(*f, swan_load_stream(gate + r * a.ld_gate + at), __ldg((const uint4 *)(coarse + at)));
    }
}

} // namespace

extern "C" int swan_cuda_vsa_combine_vec(cudaStream_t stream, const swan_vsa_combine_args *a)
{
    if (a->tiles < 1 || a->D < 1) return cudaErrorInvalidValue;
    if (((a->D | a->ld_fine | a->ld_gate) & 7) || swan_misaligned(a->fine, a->gate, a->coarse))
        return cudaErrorNotSupported;
    vsa_combine_vec<<<(unsigned)a->tiles, 256, 0, stream>>>(*a);
    return cudaGetLastError();
}
