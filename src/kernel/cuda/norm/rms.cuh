/* What the kernels of RMS norm share: eight elements of a row at a time. The fused operations are named, so that the kernels agree to
 * the bit whatever a compiler makes of each. */
#ifndef SWAN_KERNEL_CUDA_NORM_RMS_CUH
#define SWAN_KERNEL_CUDA_NORM_RMS_CUH

#include "kernel/cuda/common/convert.cuh"

SWAN_DEV void swan_add_squares8(float &squares, const float (&x)[8])
{
#pragma unroll
    for (int e = 0; e < 8; e++) squares = fmaf(x[e], x[e], squares);
}

/* x * inv * w, and with `rotate` the pairs turned by cs = cos, sin, cos, sin, ... */
SWAN_DEV void swan_rms8(float (&x)[8], float inv, const float (&w)[8], const float (&cs)[8], bool rotate)
{
#pragma unroll
    for (int e = 0; e < 8; e += 2) {
        const float u = x[e] * inv * w[e], v = x[e + 1] * inv * w[e + 1];
        x[e] = rotate ? fmaf(u, cs[e], -(v * cs[e + 1])) : u;
        x[e + 1] = rotate ? fmaf(u, cs[e + 1], v * cs[e]) : v;
    }
}

#endif
