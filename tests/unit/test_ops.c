/* Operators: shapes are checked, work is counted alike in every mode, DRY touches nothing, scratch goes back, cancel and trace. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include "ops/ops.h"

#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        swan_status assert_ok_status_ = (call);                                                                        \
        if (assert_ok_status_ != SWAN_OK)                                                                              \
            fail_msg("%s: %s: %s", #call, swan_status_name(assert_ok_status_), swan_last_error());                     \
    } while (0)

typedef struct fixture {
    swan_pool *pool;
    swan_stream stream;
    swan_kernels kernels;
    swan_arena arena;
    swan_ctx ctx; /* RUN */
    atomic_bool cancel;
    size_t used; /* of the arena, after the last tensor of the test */
} fixture;

static int open_fixture(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    if (!f || swan_pool_open(2, &f->pool) != SWAN_OK) return -1;
    if (swan_kernels_pick(SWAN_ARCH_CPU, SWAN_F32, swan_kernel_cpu_features(), NULL, &f->kernels) != SWAN_OK) return -1;
    if (swan_arena_reserve(&f->arena, "test", 1 << 24) != SWAN_OK) return -1;
    f->stream = (swan_stream){.pool = f->pool, .cancel = &f->cancel};
    f->ctx = (swan_ctx){.mode = SWAN_RUN, .kernels = &f->kernels, .stream = &f->stream, .arena = &f->arena};
    *state = f;
    return 0;
}

static int close_fixture(void **state)
{
    fixture *f = *state;
    swan_arena_free(&f->arena);
    swan_pool_close(f->pool);
    free(f);
    return 0;
}

/* A tensor from the arena, filled with small values that differ. */
static swan_tensor tensor(fixture *f, swan_dtype dtype, int ndim, const int64_t *ne)
{
    swan_tensor t;
    assert_ok(swan_ctx_tensor(&f->ctx, dtype, ndim, ne, "t", &t));
    f->used = f->ctx.arena->used;
    if (f->ctx.mode == SWAN_DRY) return t;
    memset(t.data, 0, swan_tensor_bytes(&t));
    for (int64_t i = 0; dtype == SWAN_F32 && i < swan_tensor_count(&t); i++) ((float *)t.data)[i] = (float)(i % 13 - 6) / 8;
    return t;
}
#define T(dtype, ...) tensor(f, SWAN_##dtype, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__})

/* ---- every op once ---- */

enum { L = 36, D = 128, HEADS = 2, TILES = 2 };

/* One call of each op that goes through another slot; what[] names them. */
static const char *const what[] = {"linear",    "linear gated", "modulated norm", "affine norm", "rms norm", "rms norm, rope", "attention",
                                   "sparse",    "vsa pool",     "vsa coarse",     "vsa combine", "rows",     "timestep",       "patchify",
                                   "unpatchify", "combine",     "map",            "conv",        "latent",   "rgb8",
                                   "rms norm, means", "sparse, gate"};
enum { OPS = sizeof what / sizeof what[0] };

static swan_status vision_op(fixture *f, int which)
{
    swan_tensor x = T(F32, 8, 12, 4), past = T(F32, 8, 12, 4), y = T(F32, 8, 12, 16), latent = T(F32, 4, 3, 8, 12), rgb = T(U8, 8, 12, 16);
    swan_conv conv = {.weight = T(F32, 16, 3, 3, 8), .bias = T(F32, 16)};
    switch (which) {
    case 17: return swan_op_conv3x3(&f->ctx, &(swan_conv_input){.x = &x, .past = &past}, &conv, true, NULL, &y);
    case 18: return swan_op_latent_frame(&f->ctx, &latent, 2, &x);
    default: return swan_op_rgb8(&f->ctx, &y, &rgb);
    }
}

static swan_status small_op(fixture *f, int which)
{
    swan_tensor x = T(F32, L, D), y = T(F32, L, D), ids = T(I32, L), wave = T(F32, 1, 256), latent = T(F32, 4, 3, 6, 8), patches = T(F32, L, 16);
    const swan_tensor *const two[] = {&x, &y};
    switch (which) {
    case 11: return swan_op_embed_rows(&f->ctx, &x, &ids, &y);
    case 12: return swan_op_embed_timestep(&f->ctx, 757, &wave);
    case 13: return swan_op_patchify(&f->ctx, &latent, NULL, &patches);
    case 14: return swan_op_unpatchify(&f->ctx, &patches, NULL, &latent);
    case 15: return swan_op_combine(&f->ctx, 2, (double[]){1, -2}, two, false, &y);
    default: return swan_op_map(&f->ctx, SWAN_MAP_SILU, &x, &y);
    }
}

static swan_status one_op(fixture *f, int which)
{
    if (which >= 17 && which <= 19) return vision_op(f, which);
    if (which >= 11 && which <= 16) return small_op(f, which);
    swan_tensor x = T(F32, L, D), y = T(F32, L, D), k = T(F32, L, D), v = T(F32, L, D), vector = T(F32, D), gate = T(F32, D);
    swan_tensor rope = T(F32, L, D / HEADS / 2, 2), tiles = T(I32, TILES + 1), index = T(I32, HEADS, TILES, 1);
    swan_tensor pooled = T(F32, TILES, D), coarse = T(F32, TILES, D);
    swan_linear layer = {.weight = T(F32, D, D), .bias = T(F32, D)};
    swan_attention how = {.heads = HEADS, .scale = 0.125f};
    if (f->ctx.mode != SWAN_DRY) {
        memcpy(tiles.data, (int32_t[]){0, 20, L}, 3 * sizeof(int32_t));
        for (int i = 0; i < HEADS * TILES; i++) ((int32_t *)index.data)[i] = i % TILES;
    }
    switch (which) {
    case 0: return swan_op_linear(&f->ctx, &x, &layer, SWAN_EPI_GELU, NULL, &y);
    case 1: return swan_op_linear(&f->ctx, &x, &layer, SWAN_EPI_GATED_ADD, &gate, &y);
    case 2: return swan_op_modulated_norm(&f->ctx, &x, vector.data, gate.data, 1e-6f, &y);
    case 3: return swan_op_affine_norm(&f->ctx, &x, &vector, &gate, 1e-6f, &y);
    case 4: return swan_op_rms_norm(&f->ctx, &x, &vector, 1e-6f, NULL, &y);
    case 5: return swan_op_rms_norm(&f->ctx, &x, &vector, 1e-6f, &rope, &y);
    case 6: return swan_op_attention(&f->ctx, &how, &(swan_qkv){.q = x, .k = k, .v = v}, &y);
    case 7: return swan_op_block_sparse(&f->ctx, &how, &(swan_tile_lists){&tiles, &index, NULL}, &(swan_qkv){.q = x, .k = k, .v = v}, &y);
    case 8: return swan_op_vsa_pool(&f->ctx, &x, 0, &tiles, &pooled);
    case 9: return swan_op_vsa_coarse(&f->ctx, &how, &(swan_qkv){.q = pooled, .k = pooled, .v = pooled}, &coarse, &index);
    case 20: return swan_op_rms_norm_pool(&f->ctx, &x, D, &(swan_rms_norm){.weight = &vector, .rope = &rope, .eps = 1e-6f}, &tiles, &pooled);
    case 21:
        return swan_op_block_sparse(&f->ctx, &how, &(swan_tile_lists){&tiles, &index, &coarse},
                                    &(swan_qkv){.q = x, .k = k, .v = v, .gate = x}, &y);
    default: return swan_op_vsa_combine(&f->ctx, &(swan_qkv){.gate = x}, &pooled, &tiles, &y);
    }
}

/* DRY counts the same launches, work and memory as RUN, and reads or writes nothing (its addresses are no memory). */
static void dry_counts_what_run_does(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < OPS; i++) {
        swan_counters count[2];
        size_t peak[2];
        for (int dry = 0; dry < 2; dry++) {
            swan_arena none, *real = &f->arena;
            swan_arena_dry(&none, "dry");
            f->ctx.arena = dry ? &none : real;
            f->ctx.mode = dry ? SWAN_DRY : SWAN_RUN;
            f->ctx.counters = (swan_counters){0};
            real->used = real->peak = 0;
            assert_ok(one_op(f, i));
            count[dry] = f->ctx.counters;
            peak[dry] = f->ctx.arena->peak;
            f->ctx.arena = real;
            f->ctx.mode = SWAN_RUN;
        }
        print_message("  %-16s %10.0f flops %8.0f bytes, arena %zu\n", what[i], count[0].flops, count[0].bytes, peak[0]);
        assert_int_equal(count[0].launches, 1); /* exactly one call of the table */
        assert_int_equal(count[1].launches, 1);
        assert_true(count[0].flops == count[1].flops && count[0].bytes == count[1].bytes && count[0].bytes > 0);
        assert_int_equal(peak[0], peak[1]);
    }
}

static void cost_formulas(void **state)
{
    fixture *f = *state;
    static const struct {
        int which;
        double flops, bytes;
    } cases[] = {
        {0, 2.0 * L * D * D, 4.0 * (2 * L * D + D * D)},  /* y is written */
        {1, 2.0 * L * D * D, 4.0 * (3 * L * D + D * D)},  /* y is read as well */
        {6, 4.0 * L * L * D, 4.0 * 4 * L * D},
        {7, 4.0 * L * (L / 2.0) * D, 4.0 * 4 * L * D},    /* one tile of two, of the mean size */
        {17, 18.0 * 8 * 12 * 16 * 8, 4.0 * (8 * 12 * 24 + 16 * 9 * 8)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        f->ctx.counters = (swan_counters){0};
        f->arena.used = 0;
        assert_ok(one_op(f, cases[i].which));
        assert_true(f->ctx.counters.flops == cases[i].flops);
        assert_true(f->ctx.counters.bytes == cases[i].bytes);
    }
}

static void scratch_goes_back(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < OPS; i++) {
        f->arena.used = 0;
        assert_ok(one_op(f, i));
        assert_int_equal(f->arena.used, f->used);
    }
}

static void cancelled_before_the_kernel(void **state)
{
    fixture *f = *state;
    atomic_store(&f->cancel, true);
    for (int i = 0; i < OPS; i++) {
        f->arena.used = 0;
        assert_int_equal(one_op(f, i), SWAN_E_CANCELLED);
        assert_string_equal(swan_last_error(), "cancelled");
    }
    f->ctx.mode = SWAN_DRY; /* nothing runs, so nothing is cancelled */
    for (int i = 0; i < OPS; i++) {
        f->arena.used = 0;
        assert_ok(one_op(f, i));
    }
}

static void an_empty_slot_is_named(void **state)
{
    fixture *f = *state;
    swan_kernels empty = {.arch = SWAN_ARCH_CPU, .format = SWAN_F32};
    f->ctx.kernels = &empty;
    for (int i = 0; i < OPS; i++) {
        f->arena.used = 0;
        assert_int_equal(one_op(f, i), SWAN_E_UNSUPPORTED);
        assert_non_null(strstr(swan_last_error(), ": no kernel for F32 activations on this device"));
    }
    assert_string_equal(swan_last_error(), "attn_block_sparse: no kernel for F32 activations on this device");
}

/* ---- trace ---- */

typedef struct seen {
    int count;
    double seconds;
    const char *family;
    const void *out;
} seen;

static void record(void *user, const swan_kernel_row *row, const swan_tensor *out, double seconds)
{
    seen *s = user;
    s->count++;
    s->seconds = seconds;
    s->family = row->family;
    s->out = out->data;
}

static void trace_sees_every_call(void **state)
{
    fixture *f = *state;
    seen s = {0};
    swan_trace trace = {record, &s};
    f->ctx.mode = SWAN_TRACE;
    f->ctx.trace = &trace;
    for (int i = 0; i < OPS; i++) {
        f->arena.used = 0;
        s.seconds = -1;
        assert_ok(one_op(f, i));
        assert_int_equal(s.count, i + 1);
        assert_true(s.seconds >= 0);
        assert_non_null(s.out);
    }
    assert_string_equal(s.family, "attn");
}

/* ---- shapes ---- */

static void expect_bug(swan_status status, const char *says)
{
    assert_int_equal(status, SWAN_E_BUG);
    if (!strstr(swan_last_error(), says)) fail_msg("\"%s\" does not say \"%s\"", swan_last_error(), says);
}

static void wrong_shapes(void **state)
{
    fixture *f = *state;
    swan_ctx *c = &f->ctx;
    swan_tensor x = T(F32, L, D), y = T(F32, L, D), narrow = T(F32, L, D - 2), fewer = T(F32, L - 1, D), vector = T(F32, D), shorter = T(F32, D - 2);
    swan_tensor ids = T(I32, L), tiles = T(I32, TILES + 1), index = T(I32, HEADS, TILES, 3), few = T(I32, HEADS, TILES, 1);
    swan_tensor pooled = T(F32, TILES, D), half = T(BF16, L, D);
    swan_tensor latent = T(F32, 4, 3, 6, 8), odd = T(F32, 4, 3, 6, 7), patches = T(F32, L, 16), image = T(F32, 8, 12, 4), rgb = T(U8, 8, 12, 3);
    swan_linear layer = {.weight = T(F32, D, D), .bias = vector}, other = {.weight = T(I32, D, D)};
    swan_conv conv = {.weight = T(F32, 16, 3, 3, 8)};
    swan_attention how = {.heads = HEADS, .scale = 1}, three = {.heads = 3, .scale = 1}, biased = {.heads = HEADS, .scale = 1, .key_bias = &vector};
    const swan_tensor *const one[] = {&half};
    expect_bug(swan_op_linear(c, &narrow, &layer, SWAN_EPI_NONE, NULL, &y), "linear: t F32 [36, 126] does not go with t F32 [128, 128]");
    expect_bug(swan_op_linear(c, &x, &layer, SWAN_EPI_NONE, NULL, &narrow), "linear");
    expect_bug(swan_op_linear(c, &x, &layer, SWAN_EPI_NONE, &vector, &y), "linear gate");
    expect_bug(swan_op_linear(c, &x, &layer, SWAN_EPI_GATED_ADD, NULL, &y), "linear gate");
    expect_bug(swan_op_linear(c, &x, &other, SWAN_EPI_NONE, NULL, &y), "linear weight type");
    expect_bug(swan_op_affine_norm(c, &x, &shorter, &vector, 1, &y), "norm");
    expect_bug(swan_op_modulated_norm(c, &x, vector.data, vector.data, 1, &fewer), "norm");
    expect_bug(swan_op_rms_norm(c, &x, &shorter, 1, NULL, &y), "rms norm");
    expect_bug(swan_op_rms_norm(c, &x, &vector, 1, &patches, &y), "rope");
    expect_bug(swan_op_rms_norm_pool(c, &x, D, &(swan_rms_norm){.weight = &shorter}, &tiles, &pooled), "rms norm");
    expect_bug(swan_op_rms_norm_pool(c, &x, D, &(swan_rms_norm){.weight = &vector}, &tiles, &x), "rms norm pool");
    expect_bug(swan_op_attention(c, &how, &(swan_qkv){.q = x, .k = fewer, .v = x}, &y), "attention");
    expect_bug(swan_op_attention(c, &three, &(swan_qkv){.q = x, .k = x, .v = x}, &y), "attention");
    expect_bug(swan_op_attention(c, &biased, &(swan_qkv){.q = x, .k = x, .v = x}, &y), "attention key bias");
    expect_bug(swan_op_block_sparse(c, &how, &(swan_tile_lists){&tiles, &index, NULL}, &(swan_qkv){.q = x, .k = x, .v = x}, &y),
               "block-sparse"); /* 3 of 2 tiles */
    expect_bug(swan_op_block_sparse(c, &how, &(swan_tile_lists){&tiles, &few, &pooled}, &(swan_qkv){.q = x, .k = x, .v = x, .gate = narrow}, &y),
               "block-sparse"); /* a gate of other columns */
    expect_bug(swan_op_block_sparse(c, &how, &(swan_tile_lists){&tiles, &few, &x}, &(swan_qkv){.q = x, .k = x, .v = x, .gate = x}, &y),
               "block-sparse"); /* a coarse row for each row */
    expect_bug(swan_op_vsa_coarse(c, &how, &(swan_qkv){.q = pooled, .k = pooled, .v = pooled}, &pooled, &index), "vsa coarse");
    expect_bug(swan_op_vsa_pool(c, &x, 0, &tiles, &x), "vsa pool");
    expect_bug(swan_op_vsa_combine(c, &(swan_qkv){.gate = narrow}, &pooled, &tiles, &y), "vsa combine");
    expect_bug(swan_op_embed_rows(c, &narrow, &ids, &y), "embedding");
    expect_bug(swan_op_patchify(c, &odd, NULL, &patches), "patchify");
    expect_bug(swan_op_unpatchify(c, &x, NULL, &latent), "unpatchify");
    expect_bug(swan_op_combine(c, 1, (double[]){1}, one, false, &y), "combine");
    expect_bug(swan_op_combine(c, 100, (double[]){1}, one, false, &y), "100 terms");
    expect_bug(swan_op_map(c, SWAN_MAP_SILU, &x, &narrow), "map");
    expect_bug(swan_op_conv3x3(c, &(swan_conv_input){.x = &image}, &conv, false, NULL, &image), "conv3x3");
    expect_bug(swan_op_latent_frame(c, &latent, 3, &image), "latent frame");
    expect_bug(swan_op_rgb8(c, &image, &rgb), "rgb8");
    assert_int_equal(f->ctx.counters.launches, 0);
}

/* ---- rounding for parity ---- */

static void rounds_only_for_parity(void **state)
{
    fixture *f = *state;
    swan_tensor x = T(F32, 2, 8);
    float *v = x.data;
    for (int i = 0; i < 16; i++) v[i] = 1.00390625f + (float)i / 1024; /* needs more than bf16's eight bits */
    assert_ok(swan_op_round(&f->ctx, &x));
    assert_true(v[0] == 1.00390625f);
    assert_int_equal(f->ctx.counters.launches, 0);
    f->ctx.parity_bf16 = true;
    assert_ok(swan_op_round(&f->ctx, &x));
    assert_int_equal(f->ctx.counters.launches, 1);
    for (int i = 0; i < 16; i++) assert_true(fmodf(v[i] * 128, 1) == 0);
}

/* What a row without a kernel for linear.gelu_mul does, and what the op does on the host: two products. The reference makes both at
 * once, in fp64; between the two products gelu is rounded once more. */
static void gelu_mul_is_two_products(void **state)
{
    fixture *f = *state;
    enum { M = 5, N = 24, K = 40 };
    assert_ok(swan_kernels_pick(SWAN_ARCH_CPU, SWAN_F32, 0, "linear.bf16=ref", &f->kernels));
    swan_tensor x = T(F32, M, K), w = T(BF16, 2 * N, K), fused = T(F32, M, N), two = T(F32, M, N), op = T(F32, M, N);
    for (int i = 0; i < 2 * N * K; i++) ((uint16_t *)w.data)[i] = (uint16_t)(0x3d00 + i * 37 % 256 + (i % 3 ? 0 : 0x8000));
    swan_linear_gelu_mul_args a = {.x = x.data, .w = w.data, .y = fused.data, .M = M, .N = N, .K = K, .ldx = K, .ldy = N};
    assert_ok(f->kernels.linear_gelu_mul.run(&f->stream, &a));
    a.y = two.data;
    for (int i = 0; i < 2; i++) {
        swan_linear_bf16_args one = swan_linear_gelu_mul_product(&a, i);
        assert_ok(f->kernels.linear_bf16.run(&f->stream, &one));
    }
    swan_linear gate = {.weight = swan_tensor_2d(w.data, SWAN_BF16, N, K)}, up = {.weight = swan_tensor_2d((uint16_t *)w.data + N * K, SWAN_BF16, N, K)};
    assert_ok(swan_op_linear_gelu_mul(&f->ctx, &x, &gate, &up, &op));
    assert_memory_equal(op.data, two.data, swan_tensor_bytes(&two));
    for (int i = 0; i < M * N; i++) {
        float want = ((float *)fused.data)[i], got = ((float *)two.data)[i];
        assert_true(want != 0 && fabsf(got - want) <= ldexpf(fabsf(want), -22));
    }
}

static void a_full_arena_is_our_bug(void **state)
{
    fixture *f = *state;
    swan_arena small;
    swan_tensor t;
    assert_ok(swan_arena_reserve(&small, "small", 1000));
    f->ctx.arena = &small;
    assert_int_equal(swan_ctx_tensor(&f->ctx, SWAN_F32, 1, (int64_t[]){1000}, "wide", &t), SWAN_E_BUG);
    assert_non_null(strstr(swan_last_error(), "wide: small: 4000 bytes wanted"));
    swan_arena_free(&small);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_fixture, close_fixture)
    const struct CMUnitTest tests[] = {
        TEST(dry_counts_what_run_does), TEST(cost_formulas),         TEST(scratch_goes_back),
        TEST(cancelled_before_the_kernel), TEST(an_empty_slot_is_named), TEST(trace_sees_every_call),
        TEST(wrong_shapes),             TEST(rounds_only_for_parity), TEST(a_full_arena_is_our_bug),
        TEST(gelu_mul_is_two_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
