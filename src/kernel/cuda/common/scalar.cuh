/* One element at a time, for the naive rows: activations and weights of any type in memory, fp32 in registers. */
#ifndef SWAN_KERNEL_CUDA_COMMON_SCALAR_CUH
#define SWAN_KERNEL_CUDA_COMMON_SCALAR_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>

static __device__ __forceinline__ float swan_get(float v) { return v; }
static __device__ __forceinline__ float swan_get(__nv_bfloat16 v) { return __bfloat162float(v); }
static __device__ __forceinline__ float swan_get(__half v) { return __half2float(v); }

/* Rounds to nearest even. */
static __device__ __forceinline__ void swan_put(float *to, float v) { *to = v; }
static __device__ __forceinline__ void swan_put(__nv_bfloat16 *to, float v) { *to = __float2bfloat16_rn(v); }
static __device__ __forceinline__ void swan_put(__half *to, float v) { *to = __float2half_rn(v); }

/* CALL<T>(stream, *a) with T by the activation format. */
#define SWAN_BY_FORMAT(format, call, stream, a)                                                                      \
    ((format) == SWAN_F32    ? (int)call<float>(stream, *(a))                                                        \
     : (format) == SWAN_BF16 ? (int)call<__nv_bfloat16>(stream, *(a))                                                \
                             : (int)cudaErrorNotSupported)

/* The same with F16, for the slots of the image decoder. */
#define SWAN_BY_IMAGE_FORMAT(format, call, stream, a)                                                                \
    ((format) == SWAN_F16 ? (int)call<__half>(stream, *(a)) : SWAN_BY_FORMAT(format, call, stream, a))

/* Blocks of 256 threads that cover n elements, a grid-stride loop doing the rest. */
static inline unsigned swan_blocks(int64_t n) { return (unsigned)(n < 256ll * 65536 ? (n + 255) / 256 : 65536); }
#define SWAN_EACH(i, n)                                                                                              \
    for (int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x; i < (n); i += (int64_t)gridDim.x * 256)

#endif
