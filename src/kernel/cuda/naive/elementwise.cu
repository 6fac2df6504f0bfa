/* Embeddings, patches, combinations, maps and images, naive: a thread an element; f32 or bf16 activations, latents and
 * vectors f32; sm_80 and up.
 *
 * Numerics: copies are exact or rounded once. The timestep embedding, the combination and the maps compute in fp64 and
 * round once. A byte is the fp32 product 255 x, cut.
 *
 * Roofline: memory; not timed. All of them together run once a step or once a frame. */
#include "base/yuv.h"
#include "kernel/cuda/common/scalar.cuh"
#include "kernel/cuda/launch.h"

#include <cuda_runtime.h>

namespace
{

/* ---- embed.rows ---- */

template <typename T> __global__ void __launch_bounds__(256) embed_rows(const swan_embed_rows_args a)
{
    SWAN_EACH (i, a.n * a.D) {
        const int64_t from = (int64_t)a.ids[i / a.D] * a.D + i % a.D;
        const float v = a.table_dtype == SWAN_F32   ? ((const float *)a.table)[from]
                        : a.table_dtype == SWAN_F16 ? swan_get(((const __half *)a.table)[from])
                                                    : swan_get(((const __nv_bfloat16 *)a.table)[from]);
        swan_put((T *)a.y + i, v);
    }
}

template <typename T> cudaError_t run_rows(cudaStream_t stream, const swan_embed_rows_args &a)
{
    if (a.n < 1 || a.D < 1 ||
        (a.table_dtype != SWAN_F32 && a.table_dtype != SWAN_F16 && a.table_dtype != SWAN_BF16))
        return cudaErrorInvalidValue;
    embed_rows<T><<<swan_blocks(a.n * a.D), 256, 0, stream>>>(a);
    return cudaGetLastError();
}

/* ---- embed.timestep ---- */

__global__ void __launch_bounds__(256) embed_timestep(const swan_embed_timestep_args a)
{
    const int64_t half = a.freq_dim / 2;
    SWAN_EACH (i, half) {
        const double angle = a.timestep * pow(10000.0, -(double)i / (double)half);
        a.y[i] = (float)cos(angle);
        a.y[half + i] = (float)sin(angle);
    }
}

/* ---- patches ---- */

/* Where element (c, corner) of raster token `token` stands in a latent [C, T, H, W] under patches of (1, 2, 2);
 * corner = 2 py + px. */
__device__ int64_t place(int64_t token, int64_t T, int64_t H, int64_t W, int64_t c, int corner)
{
    const int64_t j = token % (W / 2), i = token / (W / 2) % (H / 2), t = token / (W / 2) / (H / 2);
    return ((c * T + t) * H + 2 * i + (corner >> 1)) * W + 2 * j + (corner & 1);
}

template <typename T> __global__ void __launch_bounds__(256) patchify(const swan_embed_patchify_args a)
{
    const int64_t width = a.C * 4;
    SWAN_EACH (i, a.T * (a.H / 2) * (a.W / 2) * width) {
        const int64_t l = i / width, token = a.order ? a.order[l] : l;
        swan_put((T *)a.y + i, a.latent[place(token, a.T, a.H, a.W, i % width / 4, (int)(i % 4))]);
    }
}

template <typename T> __global__ void __launch_bounds__(256) unpatchify(const swan_embed_unpatchify_args a)
{
    const int64_t width = a.C * 4;
    SWAN_EACH (i, a.T * (a.H / 2) * (a.W / 2) * width) {
        const int64_t l = i / width, token = a.order ? a.order[l] : l;
        a.latent[place(token, a.T, a.H, a.W, i % a.C, (int)(i % width / a.C))] = swan_get(((const T *)a.x)[i]);
    }
}

template <typename A> bool no_latent(const A &a) { return a.C < 1 || a.T < 1 || a.H < 2 || a.W < 2 || a.H % 2 || a.W % 2; }

template <typename T> cudaError_t run_patchify(cudaStream_t stream, const swan_embed_patchify_args &a)
{
    if (no_latent(a)) return cudaErrorInvalidValue;
    patchify<T><<<swan_blocks(a.C * a.T * a.H * a.W), 256, 0, stream>>>(a);
    return cudaGetLastError();
}

template <typename T> cudaError_t run_unpatchify(cudaStream_t stream, const swan_embed_unpatchify_args &a)
{
    if (no_latent(a)) return cudaErrorInvalidValue;
    unpatchify<T><<<swan_blocks(a.C * a.T * a.H * a.W), 256, 0, stream>>>(a);
    return cudaGetLastError();
}

/* ---- elem ---- */

__global__ void __launch_bounds__(256) combine(const swan_elem_combine_args a)
{
    SWAN_EACH (i, a.n) {
        double sum = 0.0;
        for (int k = 0; k < a.terms; k++) sum += a.coefficient[k] * (double)a.x[k][i];
        const float v = (float)sum;
        a.y[i] = a.round_bf16 ? __bfloat162float(__float2bfloat16_rn(v)) : v;
    }
}

__device__ float map_one(swan_map map, float x)
{
    switch (map) {
    case SWAN_MAP_SILU: return (float)(x / (1.0 + exp(-(double)x)));
    case SWAN_MAP_CLAMP_TANH3: return (float)(3.0 * tanh(x / 3.0));
    default: return __bfloat162float(__float2bfloat16_rn(x));
    }
}

template <typename T> __global__ void __launch_bounds__(256) map_all(const swan_elem_map_args a)
{
    SWAN_EACH (i, a.n) swan_put((T *)a.y + i, map_one(a.map, swan_get(((const T *)a.x)[i])));
}

template <typename T> cudaError_t run_map(cudaStream_t stream, const swan_elem_map_args &a)
{
    if (a.n < 1 || (unsigned)a.map >= SWAN_MAP_COUNT) return cudaErrorInvalidValue;
    map_all<T><<<swan_blocks(a.n), 256, 0, stream>>>(a);
    return cudaGetLastError();
}

/* ---- image ---- */

template <typename T> __global__ void __launch_bounds__(256) from_latent(const swan_image_from_latent_args a)
{
    const int64_t plane = a.H * a.W;
    SWAN_EACH (i, a.F * plane * a.C) {
        const int64_t pixel = i / a.C, c = i % a.C;
        swan_put((T *)a.y + i, a.latent[(c * a.T + a.t + pixel / plane) * plane + pixel % plane]);
    }
}

template <typename T> cudaError_t run_from_latent(cudaStream_t stream, const swan_image_from_latent_args &a)
{
    if (a.C < 1 || a.H < 1 || a.W < 1 || a.F < 1 || a.t < 0 || a.t > a.T - a.F) return cudaErrorInvalidValue;
    from_latent<T><<<swan_blocks(a.F * a.H * a.W * a.C), 256, 0, stream>>>(a);
    return cudaGetLastError();
}

__device__ int byte_of(float x) { return x >= 1.0f ? 255 : x > 0.0f ? (int)(255.0f * x) : 0; } /* NaN fails both */

template <typename T> __global__ void __launch_bounds__(256) to_rgb8(const swan_image_to_rgb8_args a)
{
    SWAN_EACH (i, a.n) {
        a.rgb[i] = (uint8_t)byte_of(swan_get(((const T *)a.x)[i]));
    }
}

template <typename T> cudaError_t run_to_rgb8(cudaStream_t stream, const swan_image_to_rgb8_args &a)
{
    if (a.n < 1) return cudaErrorInvalidValue;
    to_rgb8<T><<<swan_blocks(a.n), 256, 0, stream>>>(a);
    return cudaGetLastError();
}

/* A chroma sample and its four of luma. */
template <typename T> __global__ void __launch_bounds__(256) to_i420(const swan_image_to_i420_args a)
{
    const int64_t half = a.W / 2, samples = a.H / 2 * half;
    SWAN_EACH (i, samples) {
        const int64_t y = i / half * 2, x = i % half * 2;
        int sum[3] = {0, 0, 0};
        for (int64_t row = y; row < y + 2; row++) {
            const T *p = (const T *)a.x + (row * a.W + x) * 3, *before = x ? p - 3 : p;
            int here[3], right[3];
            for (int c = 0; c < 3; c++) {
                here[c] = byte_of(swan_get(p[c])), right[c] = byte_of(swan_get(p[3 + c]));
                sum[c] += swan_yuv_site(byte_of(swan_get(before[c])), here[c], right[c]);
            }
            a.i420[row * a.W + x] = swan_yuv_luma(here[0], here[1], here[2]);
            a.i420[row * a.W + x + 1] = swan_yuv_luma(right[0], right[1], right[2]);
        }
        a.i420[a.H * a.W + i] = swan_yuv_cb(sum[0], sum[1], sum[2]);
        a.i420[a.H * a.W + samples + i] = swan_yuv_cr(sum[0], sum[1], sum[2]);
    }
}

template <typename T> cudaError_t run_to_i420(cudaStream_t stream, const swan_image_to_i420_args &a)
{
    if (a.H < 2 || a.W < 2 || a.H % 2 || a.W % 2) return cudaErrorInvalidValue;
    to_i420<T><<<swan_blocks(a.H * a.W / 4), 256, 0, stream>>>(a);
    return cudaGetLastError();
}

} // namespace

extern "C" int swan_cuda_embed_rows_naive(cudaStream_t stream, const swan_embed_rows_args *a, swan_dtype format)
{
    return SWAN_BY_FORMAT(format, run_rows, stream, a);
}

/* The same in both formats: the embedding is f32. */
extern "C" int swan_cuda_embed_timestep_naive(cudaStream_t stream, const swan_embed_timestep_args *a, swan_dtype format)
{
    (void)format;
    if (a->freq_dim < 2 || a->freq_dim % 2) return cudaErrorInvalidValue;
    embed_timestep<<<swan_blocks(a->freq_dim / 2), 256, 0, stream>>>(*a);
    return cudaGetLastError();
}

extern "C" int swan_cuda_embed_patchify_naive(cudaStream_t stream, const swan_embed_patchify_args *a, swan_dtype format)
{
    return SWAN_BY_FORMAT(format, run_patchify, stream, a);
}

extern "C" int swan_cuda_embed_unpatchify_naive(cudaStream_t stream, const swan_embed_unpatchify_args *a,
                                                swan_dtype format)
{
    return SWAN_BY_FORMAT(format, run_unpatchify, stream, a);
}

/* The same in both formats: latents are f32. */
extern "C" int swan_cuda_elem_combine_naive(cudaStream_t stream, const swan_elem_combine_args *a, swan_dtype format)
{
    (void)format;
    if (a->n < 1 || a->terms < 1 || a->terms > SWAN_COMBINE_MAX) return cudaErrorInvalidValue;
    combine<<<swan_blocks(a->n), 256, 0, stream>>>(*a);
    return cudaGetLastError();
}

extern "C" int swan_cuda_elem_map_naive(cudaStream_t stream, const swan_elem_map_args *a, swan_dtype format)
{
    return SWAN_BY_IMAGE_FORMAT(format, run_map, stream, a);
}

extern "C" int swan_cuda_image_from_latent_naive(cudaStream_t stream, const swan_image_from_latent_args *a,
                                                 swan_dtype format)
{
    return SWAN_BY_IMAGE_FORMAT(format, run_from_latent, stream, a);
}

extern "C" int swan_cuda_image_to_rgb8_naive(cudaStream_t stream, const swan_image_to_rgb8_args *a, swan_dtype format)
{
    return SWAN_BY_IMAGE_FORMAT(format, run_to_rgb8, stream, a);
}

extern "C" int swan_cuda_image_to_i420_naive(cudaStream_t stream, const swan_image_to_i420_args *a, swan_dtype format)
{
    return SWAN_BY_IMAGE_FORMAT(format, run_to_i420, stream, a);
}
