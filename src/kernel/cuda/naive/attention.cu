/* Attention, naive: out = softmax(scale * q k^T + biases) v, dense or over selected tiles. Any L, head_dim <= 128;
 * f32 or bf16 activations; sm_80 and up.
 *
 * Numerics: everything in fp32 (online softmax over blocks of 32 keys, P not rounded).
 *
 * Roofline: the fp32 pipe; 6.6 TFLOP at L = 32,760 are at best 0.1 s a layer. A reference, and the fallback for
 * shapes and devices that no faster row takes.
 *
 * Measured, 2026-11-22, one H100 80GB SXM, `check_cuda bench attention`: block-sparse, 624 tiles, top-k 125,
 * bf16: 147 ms.
 *
 * Plan: a block owns 16 query rows of one head, two to a warp; blocks of 32 keys and values are staged in shared
 * memory as fp32; a lane computes the score of one key, then owns four consecutive channels of the output. */
#include "kernel/cuda/common/reduce.cuh"
#include "kernel/cuda/common/scalar.cuh"
#include "kernel/cuda/launch.h"

#include <cuda_runtime.h>

namespace
{

enum { ROWS = 16, KEYS = 32, DMAX = 128 };

template <typename T> struct params {
    const T *q, *k, *v;
    T *out;
    const float *key_bias, *rel_bias;
    const int32_t *start, *index; /* NULL: dense */
    const T *gate, *coarse;       /* gate NULL: nothing is added */
    int64_t ldq, ldk, ldv, ldo, ld_rel, ld_gate;
    int Lq, Lk, D, tiles, topk;
    float scale;
};

struct stage {
    float q[ROWS][DMAX];
    float k[KEYS][DMAX + 4]; /* +4: lanes read rows at 16 B a step without conflicts */
    float v[KEYS][DMAX];
};

struct row_state {
    float m, l, o[4];
};

template <typename T>
__device__ void load_rows(float *dst, int pitch, const T *src, int64_t ld, int rows, int count, int D)
{
    for (int i = (int)threadIdx.x; i < rows * DMAX; i += (int)blockDim.x) {
        const int r = i / DMAX, d = i % DMAX;
        dst[r * pitch + d] = r < count && d < D ? swan_get(src[r * ld + d]) : 0.0f;
    }
}

/* Scores of this lane's key for row r, then the online softmax step and the update of the row's output. */
template <typename T>
__device__ void attend_block(const params<T> &p, stage &s, row_state &st, int r, int q_at, int k_at, int count, int head)
{
    const int lane = (int)threadIdx.x & 31;
    float score = 0.0f;
    for (int d = 0; d < p.D; d++) score = fmaf(s.q[r][d], s.k[lane][d], score);
    score *= p.scale;
    if (lane < count && p.key_bias) score += p.key_bias[k_at + lane];
    if (lane < count && p.rel_bias)
        score += p.rel_bias[head * p.ld_rel + k_at + lane - q_at + p.Lq - 1];
    if (lane >= count) score = -INFINITY;
    const float m = fmaxf(st.m, swan_warp_max(score));
    const float base = m == -INFINITY ? 0.0f : m; /* a row whose keys are all masked so far */
    const float e = expf(score - base), corr = expf(st.m - base);
    st.l = st.l * corr + swan_warp_sum(e);
    st.m = m;
    for (int c = 0; c < 4; c++) st.o[c] *= corr;
    for (int j = 0; j < count; j++) {
        const float w = __shfl_sync(0xffffffffu, e, j);
        for (int c = 0; c < 4; c++) st.o[c] = fmaf(w, s.v[j][lane * 4 + c], st.o[c]);
    }
}

/* grid (row chunks, heads); for the sparse form a chunk is (tile, quarter of its 64 rows). */
template <typename T> __global__ void __launch_bounds__(256) attention_naive(const params<T> p)
{
    __shared__ stage s;
    const int head = (int)blockIdx.y, warp = (int)threadIdx.x >> 5, lane = (int)threadIdx.x & 31;
    const int tile = (int)blockIdx.x / 4;
    int row = (int)blockIdx.x * ROWS, end = p.Lq;
    if (p.start) {
        row = p.start[tile] + ((int)blockIdx.x & 3) * ROWS;
        end = p.start[tile + 1];
    }
    if (row >= end) return;
    load_rows(&s.q[0][0], DMAX, p.q + row * p.ldq + (int64_t)head * p.D, p.ldq, ROWS, end - row, p.D);
    row_state st[2] = {{-INFINITY, 0.0f, {0.0f, 0.0f, 0.0f, 0.0f}}, {-INFINITY, 0.0f, {0.0f, 0.0f, 0.0f, 0.0f}}};
    const int ranges = p.start ? p.topk : 1;
    for (int i = 0; i < ranges; i++) {
        int k0 = 0, k1 = p.Lk;
        if (p.start) {
            const int t = p.index[((int64_t)head * p.tiles + tile) * p.topk + i];
            k0 = p.start[t];
            k1 = p.start[t + 1];
        }
        for (; k0 < k1; k0 += KEYS) {
            const int count = k1 - k0 < KEYS ? k1 - k0 : KEYS;
            __syncthreads();
            load_rows(&s.k[0][0], DMAX + 4, p.k + k0 * p.ldk + (int64_t)head * p.D, p.ldk, KEYS, count, p.D);
            load_rows(&s.v[0][0], DMAX, p.v + k0 * p.ldv + (int64_t)head * p.D, p.ldv, KEYS, count, p.D);
            __syncthreads();
            for (int r = 0; r < 2; r++) attend_block(p, s, st[r], warp * 2 + r, row + warp * 2 + r, k0, count, head);
        }
    }
    for (int r = 0; r < 2; r++) {
        const int at = row + warp * 2 + r;
        for (int c = 0; c < 4; c++) {
            const int d = lane * 4 + c, column = head * p.D + d;
            if (at >= end || d >= p.D) continue;
            float o = st[r].o[c] / st[r].l;
            if (p.gate)
                o = fmaf(swan_get(p.gate[at * p.ld_gate + column]), swan_get(p.coarse[(int64_t)tile * gridDim.y * p.D + column]), o);
            swan_put(&p.out[at * p.ldo + column], o);
        }
    }
}

template <typename T, typename A> params<T> common(const A &a)
{
    params<T> p = {};
    p.q = (const T *)a.q, p.k = (const T *)a.k, p.v = (const T *)a.v;
    p.out = (T *)a.out;
    p.ldq = a.ldq, p.ldk = a.ldk, p.ldv = a.ldv, p.ldo = a.ldo;
    p.D = (int)a.head_dim;
    p.scale = a.scale;
    return p;
}

template <typename T> cudaError_t run_dense(cudaStream_t stream, const swan_attn_dense_args &a)
{
    if (a.head_dim < 1 || a.head_dim > DMAX || a.Lq < 1 || a.Lk < 1 || a.heads < 1 || a.heads > 65535)
        return cudaErrorInvalidValue;
    params<T> p = common<T>(a);
    p.key_bias = a.key_bias, p.rel_bias = a.rel_bias, p.ld_rel = swan_attn_ld_rel(&a);
    p.Lq = (int)a.Lq, p.Lk = (int)a.Lk;
    attention_naive<T><<<dim3((p.Lq + ROWS - 1) / ROWS, (unsigned)a.heads), 256, 0, stream>>>(p);
    return cudaGetLastError();
}

template <typename T> cudaError_t run_sparse(cudaStream_t stream, const swan_attn_block_sparse_args &a)
{
    if (a.head_dim < 1 || a.head_dim > DMAX || a.tiles < 1 || a.topk < 1 || a.topk > a.tiles || a.heads < 1 ||
        a.heads > 65535)
        return cudaErrorInvalidValue;
    params<T> p = common<T>(a);
    p.start = a.tile_start, p.index = a.index;
    p.gate = (const T *)a.gate, p.coarse = (const T *)a.coarse, p.ld_gate = a.ld_gate;
    p.Lq = p.Lk = (int)a.L, p.tiles = (int)a.tiles, p.topk = (int)a.topk;
    attention_naive<T><<<dim3((unsigned)p.tiles * 4, (unsigned)a.heads), 256, 0, stream>>>(p);
    return cudaGetLastError();
}

} // namespace

extern "C" int swan_cuda_attn_dense_naive(cudaStream_t stream, const swan_attn_dense_args *a, swan_dtype format)
{
    return SWAN_BY_FORMAT(format, run_dense, stream, a);
}

extern "C" int swan_cuda_attn_block_sparse_naive(cudaStream_t stream, const swan_attn_block_sparse_args *a,
                                                 swan_dtype format)
{
    return SWAN_BY_FORMAT(format, run_sparse, stream, a);
}
