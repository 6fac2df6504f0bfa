/* The test of the tests: each mutation is a reference row with one seeded mistake, and checkkernel must find it. */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/half.h"
#include "check.h"
#include "kernel/cpu/cpu.h"

/* BEFORE: the row with changed arguments b. AFTER: the row, then something done to its result. Both see stream and b. */
#define BEFORE(name, slot, ...)                                                                                        \
    static swan_status name(swan_stream *stream, const swan_##slot##_args *a)                                          \
    {                                                                                                                  \
        swan_##slot##_args b = *a;                                                                                     \
        __VA_ARGS__                                                                                                    \
        return swan_##slot##_ref(stream, &b);                                                                          \
    }
#define AFTER(name, slot, ...)                                                                                         \
    static swan_status name(swan_stream *stream, const swan_##slot##_args *a)                                          \
    {                                                                                                                  \
        swan_##slot##_args b = *a;                                                                                     \
        SWAN_TRY(swan_##slot##_ref(stream, &b));                                                                       \
        __VA_ARGS__                                                                                                    \
        return SWAN_OK;                                                                                                \
    }

/* ---- any row: what the harness itself must see ---- */

AFTER(writes_past_row, linear_f32, if (b.ldy > b.N)((float *)b.y)[b.N] = 0;)
AFTER(writes_past_end, linear_f32, ((float *)b.y)[(b.M - 1) * b.ldy + b.ldy] = 0;)
AFTER(writes_before, linear_f32, ((float *)b.y)[-1] = 0;)
AFTER(changes_input, linear_f32, ((float *)b.w)[b.N * b.K - 1] += 1;)
AFTER(thread_dependent, linear_f32, if (swan_pool_threads(stream->pool) == 1)((float *)b.y)[0] = nextafterf(((float *)b.y)[0], 9);)
AFTER(run_dependent, linear_f32, static int runs; if (runs++ % 2)((float *)b.y)[0] = nextafterf(((float *)b.y)[0], 9);)
AFTER(crashes, linear_f32, raise(SIGSEGV); (void)b;)
AFTER(fails, linear_f32, (void)b; return SWAN_BUG("seeded");)
static swan_status ignores_cancel(swan_stream *stream, const swan_linear_f32_args *a)
{
    swan_stream deaf = {.pool = stream->pool};
    return swan_linear_f32_ref(&deaf, a);
}
AFTER(overruns_workspace, attn_dense,
      ((double *)b.workspace)[swan_attn_dense_ref_workspace(&b, stream) / sizeof(double)] = 0;)

/* ---- linear ---- */

BEFORE(drops_bias, linear_f32, b.bias = NULL;)
BEFORE(misses_last_column, linear_f32, b.N--;)
BEFORE(misses_last_row, linear_f32, b.M--;)
BEFORE(overwrites, linear_f32, if (b.epilogue == SWAN_EPI_ADD) b.epilogue = SWAN_EPI_NONE;)
BEFORE(drops_gate, linear_f32, if (b.epilogue == SWAN_EPI_GATED_ADD) b.epilogue = SWAN_EPI_ADD;)
BEFORE(silu_for_gelu, linear_f32, if (b.epilogue == SWAN_EPI_GELU) b.epilogue = SWAN_EPI_SILU;)
BEFORE(ldy_is_n, linear_f32, b.ldy = b.N;)
AFTER(misses_last_k, linear_f32, for (int64_t n = 0; b.epilogue == SWAN_EPI_NONE && n < b.N; n++)((float *)b.y)[n] -=
                                 ((const float *)b.x)[b.K - 1] * ((const float *)b.w)[n * b.K + b.K - 1];)
AFTER(rounds_to_bf16, linear_f32,
      for (int64_t n = 0; n < b.N; n++)((float *)b.y)[n] = swan_bf16_to_f32(swan_f32_to_bf16(((float *)b.y)[n]));)
static swan_status erf_gelu(swan_stream *stream, const swan_linear_f32_args *a)
{
    swan_linear_f32_args b = *a;
    if (a->epilogue == SWAN_EPI_GELU) b.epilogue = SWAN_EPI_NONE;
    SWAN_TRY(swan_linear_f32_ref(stream, &b));
    for (int64_t i = 0; a->epilogue == SWAN_EPI_GELU && i < a->M * a->N; i++) {
        float *y = (float *)a->y + i / a->N * a->ldy + i % a->N;
        *y = (float)(0.5 * *y * (1 + erf(*y * 0.70710678118654752)));
    }
    return SWAN_OK;
}
BEFORE(gelu_mul_last_k, linear_gelu_mul, b.K--;)
static swan_status bf16_as_f16(swan_stream *stream, const swan_linear_bf16_args *a) { return swan_linear_f16_ref(stream, a); }
static swan_status f16_as_bf16(swan_stream *stream, const swan_linear_f16_args *a) { return swan_linear_bf16_ref(stream, a); }

/* ---- norm ---- */

BEFORE(layer_eps, norm_layer, b.eps *= 1.1f;)
BEFORE(layer_offset, norm_layer, b.scale_offset = 1;)
BEFORE(layer_ld, norm_layer, b.ldy = b.ldx;)
/* The variance as a difference of fp32 means of squares. */
static swan_status layer_one_pass(swan_stream *stream, const swan_norm_layer_args *a)
{
    (void)stream;
    for (int64_t l = 0; l < a->L; l++) {
        const float *x = (const float *)a->x + l * a->ldx;
        float sum = 0, squares = 0, D = (float)a->D;
        for (int64_t d = 0; d < a->D; d++) sum += x[d], squares += x[d] * x[d];
        float mean = sum / D, inverse = 1 / sqrtf(fmaxf(squares / D - mean * mean, 0) + a->eps);
        for (int64_t d = 0; d < a->D; d++)
            ((float *)a->y)[l * a->ldy + d] = (x[d] - mean) * inverse * (a->scale[d] + a->scale_offset) + a->shift[d];
    }
    return stream->cancel && atomic_load(stream->cancel) ? SWAN_E_CANCELLED : SWAN_OK;
}
BEFORE(rms_eps, norm_rms, b.eps *= 1.1f;)
BEFORE(rms_no_rope, norm_rms, b.rope = NULL;)
/* Statistics of one head instead of all channels. */
static swan_status rms_of_head(swan_stream *stream, const swan_norm_rms_args *a)
{
    for (int64_t at = 0; at < a->D; at += a->head_dim) {
        swan_norm_rms_args b = *a;
        b.x = (const float *)a->x + at;
        b.y = (float *)a->y + at;
        b.weight = a->weight + at;
        b.D = a->head_dim;
        SWAN_TRY(swan_norm_rms_ref(stream, &b));
    }
    return SWAN_OK;
}
/* The rotation of the first row for all. */
static swan_status rms_first_rope(swan_stream *stream, const swan_norm_rms_args *a)
{
    for (int64_t l = 0; l < a->L; l++) {
        swan_norm_rms_args b = *a;
        b.x = (const float *)a->x + l * a->ldx;
        b.y = (float *)a->y + l * a->ldy;
        b.L = 1;
        SWAN_TRY(swan_norm_rms_ref(stream, &b));
    }
    return SWAN_OK;
}
AFTER(rms_mean_by_64, norm_rms, for (int64_t i = 0; b.mean && i < b.tiles * b.D; i++)((float *)b.mean)[i] *=
                                (float)(b.tile_start[i / b.D + 1] - b.tile_start[i / b.D]) / 64;)
AFTER(rms_mean_last_row, norm_rms, if (b.mean) {
    int32_t first = b.tile_start[b.tiles - 1], rows = b.tile_start[b.tiles] - first;
    for (int64_t d = 0; d < b.D; d++)
        ((float *)b.mean)[(b.tiles - 1) * b.D + d] -= ((const float *)b.y)[(first + rows - 1) * b.ldy + d] / (float)rows;
})
/* The means of what is not yet rotated. */
static swan_status rms_mean_before_rope(swan_stream *stream, const swan_norm_rms_args *a)
{
    swan_norm_rms_args b = *a;
    if (a->mean && a->x != a->y) {
        b.rope = NULL;
        SWAN_TRY(swan_norm_rms_ref(stream, &b));
        b.rope = a->rope;
        b.mean = NULL;
    }
    return swan_norm_rms_ref(stream, &b);
}

/* ---- attn ---- */

BEFORE(dense_scale, attn_dense, b.scale *= 1.00001f;)
BEFORE(dense_last_key, attn_dense, if (b.Lk > 1 && !b.rel_bias) b.Lk--;)
BEFORE(dense_key_bias, attn_dense, b.key_bias = NULL;)
BEFORE(dense_rel_bias, attn_dense, if (b.rel_bias) b.rel_bias++;)
BEFORE(dense_ldv, attn_dense, b.ldv = b.ldk;)
AFTER(dense_last_row, attn_dense,
      for (int64_t d = 0; b.Lq > 1 && d < b.head_dim; d++)((float *)b.out)[(b.Lq - 1) * b.ldo + d] =
          ((float *)b.out)[(b.Lq - 2) * b.ldo + d];)
static size_t huge_workspace(const swan_attn_dense_args *a, const swan_stream *stream)
{
    (void)stream;
    return (size_t)(a->Lq * a->Lk) * sizeof(float) + 65536;
}
BEFORE(sparse_last_tile, attn_block_sparse, if (b.topk > 1 && b.heads * b.tiles == 1) b.topk--;
       static int32_t one[64]; if (b.topk > 1 && b.heads * b.tiles <= 64) {
           for (int64_t i = 0; i < b.heads * b.tiles; i++) one[i] = b.index[i * b.topk];
           b.index = one;
           b.topk = 1;
       })
/* The list of the first head for all. */
static swan_status sparse_first_head(swan_stream *stream, const swan_attn_block_sparse_args *a)
{
    for (int64_t h = 0; h < a->heads; h++) {
        swan_attn_block_sparse_args b = *a;
        int64_t at = h * a->head_dim;
        b.q = (const float *)a->q + at;
        b.k = (const float *)a->k + at;
        b.v = (const float *)a->v + at;
        b.out = (float *)a->out + at;
        b.heads = 1;
        b.gate = NULL;
        SWAN_TRY(swan_attn_block_sparse_ref(stream, &b));
    }
    swan_vsa_combine_args sum = swan_attn_block_sparse_sum(a);
    return a->gate ? swan_vsa_combine_ref(stream, &sum) : SWAN_OK;
}
BEFORE(sparse_no_gate, attn_block_sparse, b.gate = NULL;)
BEFORE(sparse_first_coarse, attn_block_sparse, static float one[64 * 1024]; if (b.gate && b.tiles * b.heads * b.head_dim <= 64 * 1024) {
    for (int64_t i = 0; i < b.tiles * b.heads * b.head_dim; i++) one[i] = ((const float *)b.coarse)[i % (b.heads * b.head_dim)];
    b.coarse = one;
})

/* ---- vsa ---- */

AFTER(pool_by_64, vsa_pool, for (int64_t i = 0; i < b.tiles * b.D; i++)((float *)b.out)[i] *=
                            (float)(b.tile_start[i / b.D + 1] - b.tile_start[i / b.D]) / 64;)
BEFORE(coarse_scale, vsa_coarse, b.scale *= 1.0001f;)
AFTER(coarse_descending, vsa_coarse, for (int64_t r = 0; r < b.heads * b.tiles; r++) for (int64_t i = 0; i < b.topk / 2; i++) {
    int32_t *list = b.index + r * b.topk, swap = list[i];
    list[i] = list[b.topk - 1 - i];
    list[b.topk - 1 - i] = swap;
})
AFTER(coarse_last, vsa_coarse,
      for (int64_t r = 0; r < b.heads * b.tiles; r++) b.index[r * b.topk + b.topk - 1] = (int32_t)b.tiles - 1;)
static double coarse_score(const swan_vsa_coarse_args *a, int64_t row, int64_t j)
{
    int64_t D = a->heads * a->head_dim, at = row / a->tiles * a->head_dim;
    double dot = 0;
    for (int64_t d = 0; d < a->head_dim; d++)
        dot += (double)((const float *)a->q)[row % a->tiles * D + at + d] * ((const float *)a->k)[j * D + at + d];
    return dot;
}
/* Where a tile behind the last of a list has the same score, takes that one. */
AFTER(coarse_ties, vsa_coarse, for (int64_t r = 0; r < b.heads * b.tiles; r++) {
    int32_t *last = b.index + r * b.topk + b.topk - 1;
    double score = coarse_score(&b, r, *last);
    for (int64_t j = *last + 1; j < b.tiles; j++)
        if (coarse_score(&b, r, j) == score) *last = (int32_t)j;
})
BEFORE(combine_last_tile, vsa_combine, b.tiles--;)
BEFORE(combine_first_tile, vsa_combine, b.tile_start++; b.tiles--;)

/* ---- embed ---- */

BEFORE(rows_dtype, embed_rows, if (b.table_dtype == SWAN_F16) b.table_dtype = SWAN_BF16;)
BEFORE(rows_last, embed_rows, b.n--;)
AFTER(timestep_order, embed_timestep, for (int64_t i = 0; i < b.freq_dim / 2; i++) {
    float swap = b.y[i];
    b.y[i] = b.y[b.freq_dim / 2 + i];
    b.y[b.freq_dim / 2 + i] = swap;
})
AFTER(timestep_fp32, embed_timestep, for (int64_t i = 0, h = b.freq_dim / 2; i < h; i++) b.y[i] =
                                     cosf((float)b.timestep * powf(10000, -(float)i / (float)h));)
BEFORE(patchify_order, embed_patchify, b.order = NULL;)
AFTER(patchify_columns, embed_patchify, for (int64_t i = 0; i < b.T * (b.H / 2) * (b.W / 2) * b.C; i++) {
    float *y = (float *)b.y + i * 4, swap = y[1];
    y[1] = y[2];
    y[2] = swap;
})
BEFORE(unpatchify_order, embed_unpatchify, b.order = NULL;)
BEFORE(unpatchify_size, embed_unpatchify, int64_t swap = b.H; b.H = b.W; b.W = swap;)

/* ---- elem ---- */

BEFORE(combine_coefficient, elem_combine, b.coefficient[0] = (float)b.coefficient[0];)
BEFORE(combine_terms, elem_combine, if (b.terms > 1) b.terms--;)
BEFORE(combine_no_bf16, elem_combine, b.round_bf16 = false;)
BEFORE(combine_tail, elem_combine, b.n = b.n / 8 * 8;)
static swan_status combine_fp32(swan_stream *stream, const swan_elem_combine_args *a)
{
    for (int64_t i = 0; i < a->n; i++) {
        float sum = 0;
        for (int k = 0; k < a->terms; k++) sum += (float)a->coefficient[k] * a->x[k][i];
        a->y[i] = a->round_bf16 ? swan_bf16_to_f32(swan_f32_to_bf16(sum)) : sum;
    }
    return stream->cancel && atomic_load(stream->cancel) ? SWAN_E_CANCELLED : SWAN_OK;
}
BEFORE(map_silu, elem_map, if (b.map == SWAN_MAP_SILU) b.map = SWAN_MAP_CLAMP_TANH3;)
AFTER(map_truncates, elem_map, for (int64_t i = 0; b.map == SWAN_MAP_ROUND_BF16 && b.x != b.y && i < b.n; i++)((float *)b.y)[i] =
                               swan_f32_from_bits(swan_f32_bits(((const float *)b.x)[i]) & 0xFFFF0000u);)
AFTER(map_clamp, elem_map, for (int64_t i = 0; b.map == SWAN_MAP_CLAMP_TANH3 && b.x != b.y && i < b.n; i++)((float *)b.y)[i] =
                           fminf(fmaxf(((const float *)b.x)[i], -3), 3);)

/* ---- conv, image ---- */

BEFORE(conv_bias, conv_conv3x3, b.bias = NULL;)
BEFORE(conv_relu, conv_conv3x3, b.relu = false;)
BEFORE(conv_residual, conv_conv3x3, b.residual = NULL;)
BEFORE(conv_last_row, conv_conv3x3, if (!b.upsample) b.H--;)
BEFORE(conv_swapped, conv_conv3x3, if (b.past && b.Cx == b.Cp) {
    b.past = a->x;
    b.x = a->past;
})
BEFORE(conv_no_past, conv_conv3x3, b.past = NULL;)
BEFORE(conv_shifted, conv_conv3x3, if (b.upsample && b.H > 2) b.x = (const float *)b.x + b.Cx;)
BEFORE(conv_first_frame, conv_conv3x3, b.F = 1;)
BEFORE(up_relu, conv_up2x2, b.relu = !b.relu;)
BEFORE(up_first_frame, conv_up2x2, if (b.F > 1) b.F--;)
BEFORE(up_not_grown, conv_up2x2, b.F *= b.grow, b.grow = 1;)
/* the four places of an output pixel share one set of weights */
AFTER(up_one_place, conv_up2x2, for (int64_t i = 0; i < b.F * b.grow * b.H * 2; i++) for (int64_t x = 0; x < b.W; x++) {
    float *y = (float *)b.y + (i * 2 * b.W + 2 * x) * b.Cout;
    memcpy(y + b.Cout, y, (size_t)b.Cout * sizeof *y);
})
BEFORE(latent_first, image_from_latent, b.t = 0;)
BEFORE(latent_one, image_from_latent, b.F = 1;)
AFTER(rgb_rounds, image_to_rgb8, for (int64_t i = 0; i < b.n; i++) {
    float x = ((const float *)b.x)[i];
    if (x > 0 && x < 1) b.rgb[i] = (uint8_t)lrintf(255 * x);
})
AFTER(rgb_nan, image_to_rgb8, for (int64_t i = 0; i < b.n; i++) if (isnan(((const float *)b.x)[i])) b.rgb[i] = 255;)

AFTER(i420_full_range, image_to_i420, for (int64_t i = 0; i < b.H * b.W; i++) b.i420[i] = (uint8_t)((b.i420[i] - 16) * 255 / 219);)
AFTER(i420_swapped, image_to_i420, for (int64_t i = b.H * b.W; i < b.H * b.W * 5 / 4; i++) {
    uint8_t cb = b.i420[i];
    b.i420[i] = b.i420[i + b.H * b.W / 4];
    b.i420[i + b.H * b.W / 4] = cb;
})
/* chroma sited between the columns: without the left neighbour */
AFTER(i420_centred, image_to_i420, for (int64_t i = 0; i < b.H * b.W / 4; i++) {
    double sum[3] = {0};
    int64_t y = i / (b.W / 2) * 2, x = i % (b.W / 2) * 2;
    for (int k = 0; k < 12; k++) {
        float v = ((const float *)b.x)[((y + k / 6) * b.W + x + k / 3 % 2) * 3 + k % 3];
        sum[k % 3] += (v > 0 ? floor(255 * fmin(v, 1)) : 0) / 4;
    }
    b.i420[b.H * b.W + i] = (uint8_t)lrint(128 + 224.0 / 255 * (sum[2] - 0.2126 * sum[0] - 0.7152 * sum[1] - 0.0722 * sum[2]) / 1.8556);
})

typedef struct mutation {
    const char *name;
    swan_slot slot;
    void (*run)(void);
    void (*workspace)(void); /* NULL: the row's own */
} mutation;

#define M(slot, name) {#name, SWAN_SLOT_##slot, (void (*)(void))name, NULL}
static const mutation mutations[] = {
    M(linear_f32, writes_past_row), M(linear_f32, writes_past_end), M(linear_f32, writes_before), M(linear_f32, changes_input),
    M(linear_f32, thread_dependent), M(linear_f32, run_dependent), M(linear_f32, crashes), M(linear_f32, fails),
    M(linear_f32, ignores_cancel), M(attn_dense, overruns_workspace),
    {"huge_workspace", SWAN_SLOT_attn_dense, (void (*)(void))swan_attn_dense_ref, (void (*)(void))huge_workspace},
    M(linear_f32, drops_bias), M(linear_f32, misses_last_column), M(linear_f32, misses_last_row), M(linear_f32, overwrites),
    M(linear_f32, drops_gate), M(linear_f32, silu_for_gelu), M(linear_f32, erf_gelu), M(linear_f32, ldy_is_n),
    M(linear_f32, misses_last_k), M(linear_f32, rounds_to_bf16), M(linear_bf16, bf16_as_f16), M(linear_f16, f16_as_bf16),
    M(linear_gelu_mul, gelu_mul_last_k),
    M(norm_layer, layer_eps), M(norm_layer, layer_offset), M(norm_layer, layer_ld), M(norm_layer, layer_one_pass),
    M(norm_rms, rms_eps), M(norm_rms, rms_no_rope), M(norm_rms, rms_of_head), M(norm_rms, rms_first_rope),
    M(norm_rms, rms_mean_by_64), M(norm_rms, rms_mean_last_row), M(norm_rms, rms_mean_before_rope),
    M(attn_dense, dense_scale), M(attn_dense, dense_last_key), M(attn_dense, dense_key_bias), M(attn_dense, dense_rel_bias),
    M(attn_dense, dense_ldv), M(attn_dense, dense_last_row), M(attn_block_sparse, sparse_last_tile),
    M(attn_block_sparse, sparse_first_head), M(attn_block_sparse, sparse_no_gate), M(attn_block_sparse, sparse_first_coarse),
    M(vsa_pool, pool_by_64), M(vsa_coarse, coarse_scale),
    M(vsa_coarse, coarse_descending), M(vsa_coarse, coarse_last), M(vsa_coarse, coarse_ties),
    M(vsa_combine, combine_last_tile), M(vsa_combine, combine_first_tile), M(embed_rows, rows_dtype), M(embed_rows, rows_last),
    M(embed_timestep, timestep_order), M(embed_timestep, timestep_fp32), M(embed_patchify, patchify_order),
    M(embed_patchify, patchify_columns), M(embed_unpatchify, unpatchify_order), M(embed_unpatchify, unpatchify_size),
    M(elem_combine, combine_coefficient), M(elem_combine, combine_terms), M(elem_combine, combine_no_bf16),
    M(elem_combine, combine_tail), M(elem_combine, combine_fp32), M(elem_map, map_silu), M(elem_map, map_truncates),
    M(elem_map, map_clamp), M(conv_conv3x3, conv_bias), M(conv_conv3x3, conv_relu), M(conv_conv3x3, conv_residual),
    M(conv_conv3x3, conv_last_row), M(conv_conv3x3, conv_swapped), M(conv_conv3x3, conv_no_past), M(conv_conv3x3, conv_shifted),
    M(conv_conv3x3, conv_first_frame), M(conv_up2x2, up_relu), M(conv_up2x2, up_first_frame), M(conv_up2x2, up_not_grown),
    M(conv_up2x2, up_one_place), M(image_from_latent, latent_first), M(image_from_latent, latent_one), M(image_to_rgb8, rgb_rounds),
    M(image_to_rgb8, rgb_nan), M(image_to_i420, i420_full_range), M(image_to_i420, i420_swapped), M(image_to_i420, i420_centred),
};
#define MUTATIONS (sizeof mutations / sizeof mutations[0])

static const swan_kernel_row *reference_of(swan_slot slot)
{
    const swan_kernel_row *r;
    for (size_t i = 0; (r = swan_kernel_row_at(i)); i++)
        if (r->id == slot && !strcmp(r->variant, "ref")) return r;
    return NULL;
}

/* Runs one mutated row in a child. True when it was found out: a failure was reported, or it crashed as it was meant to. */
static bool caught(const check *base, const mutation *m)
{
    const swan_kernel_row *ref = reference_of(m->slot);
    if (!ref) return false;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0}; /* no core file of a crash that is meant */
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL);
        swan_kernel_row row = *ref;
        check c = *base;
        row.variant = m->name;
        row.run = m->run;
        if (m->workspace) row.workspace = m->workspace;
        c.row = &row;
        c.quiet = c.first_only = true;
        check_open(&c);
        check_test_of(row.id)(&c);
        _exit(c.failures ? 1 : 0);
    }
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    if (pid < 0) return false;
    bool crashed = WIFSIGNALED(status), meant = m->run == (void (*)(void))crashes;
    return meant ? crashed : WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

int check_self_test(const check *base)
{
    int missed = 0;
    bool touched[SWAN_SLOT_COUNT] = {false};
    for (size_t i = 0; i < MUTATIONS; i++) {
        touched[mutations[i].slot] = true;
        if (caught(base, &mutations[i])) continue;
        printf("NOT CAUGHT %s\n", mutations[i].name);
        missed++;
    }
    for (int slot = 0; slot < SWAN_SLOT_COUNT; slot++) {
        if (touched[slot]) continue;
        printf("NO MUTATION of slot %d\n", slot);
        missed++;
    }
    printf("%d mutations caught, %d missed\n", (int)MUTATIONS - missed, missed);
    return missed;
}
