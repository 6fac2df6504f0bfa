/* Dense attention, bf16, head_dim 128 or 64, mma.sync, sm_80 and up: out = softmax(scale q k^T + key_bias + rel_bias) v for each
 * head; any Lq, Lk >= 1. Source of the method: FlashAttention-2 (arXiv 2307.08691).
 *
 * Shapes: q, out bf16 [Lq, H, D], k, v bf16 [Lk, H, D]; row strides multiples of 8, bases aligned to 16 B. Nothing past row Lq-1
 * or Lk-1 is read or written.
 *
 * Numerics: products, sums, maximum and row sum in fp32; P rounded to bf16 for P V (the row sum adds unrounded P); exp2 is
 * ex2.approx (2 ulp). Deterministic: no atomics, one block owns a row.
 *
 * Roofline at L = 32,760, 12 heads of 128: 6.59 TFLOP: 40 ms on an RTX 4090 (165 TFLOPS with fp32 sums), 21 ms on an A100 (312).
 *
 * Measured, 2026-11-22, one H100 80GB SXM (bench/LOG.md), in parentheses FlashAttention-2 by PyTorch in the same command:
 * - L = 32,760: 17.2 ms, 383 TFLOPS (18.2 ms, 362); L = 23,296: 8.42 ms, 396 TFLOPS (9.51 ms, 350). mma_small: 366 and 361.
 * - Cross-attention, Lq = 32,760: Lk = 512 0.318 ms, 324 TFLOPS; Lk = 101 with key_bias 0.158 ms.
 * Run on no other GPU.
 *
 * Plan: a block owns 128 query rows of one head, four warps of 32; Q stays in shared memory, K and V pass through one buffer
 * each: V arrives while Q K runs, the next K while softmax and P V run; two blocks to a multiprocessor fill each other's gaps.
 * - `mma`: 64 keys at a time, 64 KiB a block: multiprocessors with 164 KiB and more.
 * - `mma_small`: 32 keys at a time, 48 KiB: for sm_86, 89 and 120, whose 100 KiB hold two such blocks. With head_dim 64 both are the
 *   same: 64 keys, 32 KiB.
 * - o is multiplied with a correction only when a row of the warp has a new maximum: 3 to 5 % faster than always. */
#include "kernel/cuda/attn/few_keys.h"
#include "kernel/cuda/attn/flash_mma.cuh"
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/launch.h"

#include <cuda_runtime.h>

namespace
{

enum { BM = 128, MT = 2, THREADS = 128 };

typedef swan_dense_mma_params params;

/* Scores of keys from n0 on in units of log2, with their biases. row: of s[0][..][0]. */
template <int BN> SWAN_DEV void add_bias(float (&s)[MT][BN / 8][4], const params &p, int head, int row, int n0)
{
    const float *rel = p.rel_bias ? p.rel_bias + head * p.ld_rel + p.Lq - 1 : nullptr;
#pragma unroll
    for (int j = 0; j < BN / 8; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            const int key = n0 + 8 * j + e;
            const float bias = p.key_bias && key < p.Lk ? __ldg(p.key_bias + key) : 0.0f;
#pragma unroll
            for (int i = 0; i < MT; i++)
#pragma unroll
                for (int r = 0; r < 2; r++) {
                    const int at = row + 16 * i + 8 * r;
                    float b = bias;
                    if (rel && key < p.Lk && at < p.Lq) b += __ldg(rel + key - at);
                    s[i][j][2 * r + e] = fmaf(s[i][j][2 * r + e], p.scale_log2, b * 1.4426950408889634f);
                }
        }
}

/* Keys from Lk on do not exist. */
template <int BN> SWAN_DEV void mask(float (&s)[MT][BN / 8][4], int left)
{
#pragma unroll
    for (int j = 0; j < BN / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            if (8 * j + (e & 1) >= left) {
#pragma unroll
                for (int i = 0; i < MT; i++) s[i][j][e] = -INFINITY;
            }
}

/* grid (tiles of BM rows, heads). */
template <int D, int BN, bool BIAS>
__global__ void __launch_bounds__(THREADS, 2) dense_bf16_mma(const params p)
{
    extern __shared__ float4 raw[];
    const uint32_t q = swan_smem_u32(raw), k = q + BM * 2 * D, v = k + BN * 2 * D;
    const int head = (int)blockIdx.y, row0 = (int)blockIdx.x * BM, warp = (int)threadIdx.x >> 5, lane = (int)threadIdx.x & 31;
    swan_grid_wait();
    swan_flash_mma_copy<D, BM, THREADS>(q, p.q + row0 * p.ldq + head * D, p.ldq, p.Lq - row0);
    swan_flash_mma_copy<D, BN, THREADS>(k, p.k + head * D, p.ldk, p.Lk);
    swan_copy_commit();

    const uint32_t at_q = q + warp * (16 * MT) * 2 * D + swan_flash_mma_lane_a<D>();
    const uint32_t at_k = k + swan_flash_mma_lane_b<D>(), at_v = v + swan_flash_mma_lane_a<D>();
    float o[MT][D / 8][4], s[MT][BN / 8][4];
    swan_flash_mma_stats<MT> st;
    swan_flash_mma_begin<D, MT>(o, st);
#pragma unroll 1
    for (int n0 = 0; n0 < p.Lk; n0 += BN) {
        const int left = p.Lk - n0;
        swan_copy_wait<0>();
        __syncthreads(); /* K is there, and V has been read */
        swan_flash_mma_copy<D, BN, THREADS>(v, p.v + head * D + n0 * p.ldv, p.ldv, left);
        swan_copy_commit();
        swan_flash_mma_qk<D, MT, BN>(s, nullptr, at_q, at_k);
        swan_copy_wait<0>();
        __syncthreads(); /* V is there, and K has been read */
        if (left > BN) {
            swan_flash_mma_copy<D, BN, THREADS>(k, p.k + head * D + (n0 + BN) * p.ldk, p.ldk, left - BN);
            swan_copy_commit();
        }
        if (BIAS) add_bias<BN>(s, p, head, row0 + warp * 16 * MT + (lane >> 2), n0 + 2 * (lane & 3));
        if (left < BN) mask<BN>(s, left - 2 * (lane & 3));
        swan_flash_mma_softmax<D, MT, BN>(s, o, st, BIAS ? 1.0f : p.scale_log2);
        swan_flash_mma_pv<D, MT, BN>(o, s, at_v);
    }
    const int row = row0 + warp * 16 * MT;
    swan_flash_mma_store<D, MT>(p.out + row * p.ldo + head * D, p.ldo, p.Lq - row, o, st, q + warp * 16 * MT * 2 * D);
}

template <int D, int BN, bool BIAS> cudaError_t launch(cudaStream_t stream, const params &p, unsigned heads)
{
    const int bytes = (BM + 2 * BN) * 2 * D;
    const cudaError_t e =
        cudaFuncSetAttribute(dense_bf16_mma<D, BN, BIAS>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (e) return e;
    dense_bf16_mma<D, BN, BIAS>
        <<<dim3((unsigned)((p.Lq + BM - 1) / BM), heads), THREADS, bytes, stream>>>(p);
    return cudaGetLastError();
}

template <int BN> cudaError_t dense(cudaStream_t stream, const swan_attn_dense_args *a)
{
    if (a->Lq < 1 || a->Lk < 1 || a->heads < 1) return cudaErrorInvalidValue;
    if ((a->head_dim != 128 && a->head_dim != 64) || a->Lq > 1 << 24 || a->Lk > 1 << 24 || a->heads > 65535 ||
        ((a->ldq | a->ldk | a->ldv | a->ldo) & 7) || swan_misaligned(a->q, a->k, a->v, a->out))
        return cudaErrorNotSupported;
    params p;
    p.q = (const __nv_bfloat16 *)a->q, p.k = (const __nv_bfloat16 *)a->k, p.v = (const __nv_bfloat16 *)a->v;
    p.out = (__nv_bfloat16 *)a->out;
    p.key_bias = a->key_bias, p.rel_bias = a->rel_bias;
    p.ldq = a->ldq, p.ldk = a->ldk, p.ldv = a->ldv, p.ldo = a->ldo, p.ld_rel = swan_attn_ld_rel(a);
    p.Lq = (int)a->Lq, p.Lk = (int)a->Lk;
    p.scale_log2 = a->scale * 1.4426950408889634f;
    const unsigned heads = (unsigned)a->heads;
    if (a->head_dim == 64 && p.Lk <= SWAN_FEW_KEYS) return swan_few_keys(stream, p, heads);
    if (a->head_dim == 64) return launch<64, 64, true>(stream, p, heads);
    if (a->key_bias || a->rel_bias) return launch<128, BN, true>(stream, p, heads);
    return launch<128, BN, false>(stream, p, heads);
}

} // namespace

extern "C" int swan_cuda_attn_dense_mma(cudaStream_t stream, const swan_attn_dense_args *a) { return dense<64>(stream, a); }
extern "C" int swan_cuda_attn_dense_mma_small(cudaStream_t stream, const swan_attn_dense_args *a) { return dense<32>(stream, a); }
