/* bf16 in memory, fp32 in registers: eight values an access. */
#ifndef SWAN_KERNEL_CUDA_COMMON_CONVERT_CUH
#define SWAN_KERNEL_CUDA_COMMON_CONVERT_CUH

#include "kernel/cuda/common/ptx.cuh"

#include <cuda_bf16.h>

SWAN_DEV void swan_unpack8(const uint4 &u, float (&v)[8])
{
    const uint32_t w[4] = {u.x, u.y, u.z, u.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        v[2 * i] = __uint_as_float(w[i] << 16);
        v[2 * i + 1] = __uint_as_float(w[i] & 0xffff0000u);
    }
}

SWAN_DEV uint4 swan_pack8(const float (&v)[8])
{
    return make_uint4(swan_pack_bf16(v[0], v[1]), swan_pack_bf16(v[2], v[3]), swan_pack_bf16(v[4], v[5]),
                      swan_pack_bf16(v[6], v[7]));
}

/* Eight floats of a table, aligned to 16 B. */
SWAN_DEV void swan_load8(float (&v)[8], const float *p)
{
    const float4 a = __ldg((const float4 *)p), b = __ldg((const float4 *)p + 1);
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}

/* Data that is read once: past L1, and not kept there. */
SWAN_DEV uint4 swan_load_stream(const void *p)
{
    uint4 u;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(u.x), "=r"(u.y), "=r"(u.z), "=r"(u.w)
                 : "l"(p));
    return u;
}

/* gelu, tanh form: x (1 + tanh u) / 2 = x / (1 + e^-2u), accurate in both tails, unlike tanh.approx (2^-11). */
SWAN_DEV float swan_gelu(float x)
{
    const float u = 0.7978845608028654f * x * fmaf(0.044715f * x, x, 1.0f);
    return __fdividef(x, 1.0f + swan_exp2(-2.0f * 1.4426950408889634f * u));
}

#endif
