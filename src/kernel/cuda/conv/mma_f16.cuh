/* What the fp16 convolutions for sm_80 and up share: the product, and tiles of pixels with their margin in shared memory. */
#ifndef SWAN_KERNEL_CUDA_CONV_MMA_F16_CUH
#define SWAN_KERNEL_CUDA_CONV_MMA_F16_CUH

#include "kernel/cuda/common/mma.cuh"
#include "kernel/cuda/conv/conv_shape.cuh"

#include <cuda_fp16.h>

/* d += a b, m16n8k16, fp32 sums; layouts as in common/mma.cuh. */
SWAN_DEV void swan_mma_f16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* Rows of 64 values at 128 B; their eight units of 16 B are swizzled by the row, so that ldmatrix finds no two in one bank. */
SWAN_DEV uint32_t conv_unit(uint32_t base, int row, int unit) { return base + row * 128 + ((unit ^ (row & 7)) << 4); }

/* Which of the input's tensors a block of 64 channels is in. */
struct conv_block {
    const __half *p;
    int C, c0;   /* channels of the tensor; first of the block */
    int at;      /* of the block in a tap of w */
    int left;    /* channels from c0 on, at most 64 */
};
SWAN_DEV conv_block conv_block_at(const conv_shape &s, int block)
{
    const int x_blocks = ((int)s.Cx + 63) / 64;
    const bool past = block >= x_blocks;
    conv_block b;
    b.p = (const __half *)(past ? s.past : s.x);
    b.C = (int)(past ? s.Cp : s.Cx);
    b.c0 = 64 * (past ? block - x_blocks : block);
    b.at = b.c0 + (past ? (int)s.Cx : 0);
    b.left = min(64, b.C - b.c0);
    return b;
}

/* 64 channels of the pixels [y0 - 1, y0 + TH] x [x0 - 1, x0 + TW] of frame f to shared memory, zeros outside, by all threads. */
template <int TW, int TH, int THREADS>
SWAN_DEV void conv_load_pixels(const conv_shape &s, const conv_block &b, uint32_t to, int f, int y0, int x0)
{
    const int H = (int)s.H, W = (int)s.W;
#pragma unroll 2
    for (int i = threadIdx.x; i < (TW + 2) * (TH + 2) * 8; i += THREADS) {
        const int pixel = i >> 3, unit = i & 7, y = y0 - 1 + pixel / (TW + 2), x = x0 - 1 + pixel % (TW + 2);
        const bool in = y >= 0 && y < H && x >= 0 && x < W && unit * 8 < b.left;
        const __half *from = in ? b.p + (((int64_t)f * H + y) * W + x) * b.C + b.c0 + unit * 8 : b.p;
        swan_copy16(conv_unit(to, pixel, unit), from, in);
    }
}

/* 64 input channels of one tap of w's rows row0 .. row0 + N - 1, the first `rows` of which exist. */
template <int N, int THREADS>
SWAN_DEV void conv_load_weights(const conv_shape &s, const conv_block &b, uint32_t to, int64_t row0, int rows, int tap)
{
    const int64_t K = s.taps * (s.Cx + s.Cp);
    const __half *w = (const __half *)s.w + row0 * K + tap * (s.Cx + s.Cp) + b.at;
    for (int i = threadIdx.x; i < N * 8; i += THREADS) {
        const int n = i >> 3, unit = i & 7;
        const bool in = n < rows && unit * 8 < b.left;
        swan_copy16(conv_unit(to, n, unit), in ? w + n * K + unit * 8 : w, in);
    }
}

#endif
