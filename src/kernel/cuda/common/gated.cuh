/* VSA's sum, out += gate * coarse of the row's tile, where attention writes its rows. */
#ifndef SWAN_KERNEL_CUDA_COMMON_GATED_CUH
#define SWAN_KERNEL_CUDA_COMMON_GATED_CUH

#include "kernel/cuda/common/ptx.cuh"

#include <cuda_bf16.h>
#include <stdint.h>

/* gate: bf16, rows `ld` elements apart; NULL: nothing is added. coarse: a row for each tile, without gaps. */
struct swan_gated_rows {
    const __nv_bfloat16 *gate, *coarse;
    int64_t ld;
};

/* The same from row and tile and column on; D: columns of coarse. */
SWAN_DEV swan_gated_rows swan_gated_at(const swan_gated_rows &g, int64_t row, int64_t tile, int D, int column)
{
    if (!g.gate) return g;
    return {g.gate + row * g.ld + column, g.coarse + tile * D + column, g.ld};
}

/* Eight columns, each rounded once. */
SWAN_DEV uint4 swan_gated_sum(uint4 fine, const uint4 &gate, const uint4 &coarse)
{
#define PAIR(e) asm("fma.rn.bf16x2 %0, %1, %2, %0;" : "+r"(fine.e) : "r"(gate.e), "r"(coarse.e))
    PAIR(x);
    PAIR(y);
    PAIR(z);
    PAIR(w);
#undef PAIR
    return fine;
}

#endif
