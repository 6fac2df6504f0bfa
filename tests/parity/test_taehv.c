/* The TAEHV decoder against PyTorch. Fixtures: tools/fixtures/taehv.py. The file is F16, its first growth layer has unused
 * rows in front, and it holds tensors of an encoder, as published files do. */
#include "model/taehv.h"
#include "parity.h"

/* PyTorch's fp32 frames are 2.8e-7 from fp64 (taehv.py prints it); the rest is room for other orders of summation. */
#define BOUND 2e-6

typedef struct frames {
    float *data; /* [F, 3, H, W] */
    int64_t count, next;
} frames;

/* Takes the frames in order and brings them to planes. */
static swan_status take(void *user, swan_ctx *ctx, int64_t index, const swan_tensor *frame)
{
    frames *f = user;
    if (ctx->mode == SWAN_DRY) return SWAN_OK;
    assert_int_equal(index, f->next++);
    assert_int_equal(frame->ne[2], 3);
    int64_t pixels = frame->ne[0] * frame->ne[1];
    const float *x = frame->data;
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t c = 0; c < 3; c++) {
            float v = x[i * 3 + c];
            f->data[(index * 3 + c) * pixels + i] = v < 0 ? 0 : v > 1 ? 1 : v;
        }
    return SWAN_OK;
}

static void decode(const swan_taehv *m, const swan_tensor *latent, unsigned features, frames *out)
{
    parity_run r;
    parity_open(&r, features);
    out->next = 0;
    out->count = swan_taehv_frames(latent->ne[1]);
    swan_taehv_sink sink = {.frame = take, .user = out};
    assert_ok(swan_taehv_decode(m, &r.ctx, latent, &sink));
    parity_reserve(&r);
    assert_ok(swan_taehv_decode(m, &r.ctx, latent, &sink));
    assert_int_equal(out->next, out->count);
    parity_close(&r);
}

static void against_reference(void **state)
{
    (void)state;
    swan_ckpt *ckpt;
    swan_arena weights;
    swan_taehv m;
    assert_ok(swan_ckpt_open(PARITY_DATA "taehv-tiny.safetensors", NULL, &ckpt));
    uint8_t *used = calloc(swan_ckpt_count(ckpt), 1);
    assert_non_null(used);
    swan_weight_loader loader = {.ckpt = ckpt, .used = used};
    PARITY_BIND(loader, weights, swan_taehv_load(&m, &loader));
    swan_tensor latent = parity_load("taehv/latent.npy"), want = parity_load("taehv/frames.npy");
    frames got = {.data = malloc(swan_tensor_bytes(&want))};
    assert_non_null(got.data);
    decode(&m, &latent, 0, &got);
    assert_int_equal(got.count, want.ne[0]);
    parity_expect("frames, portable rows", got.data, &want, BOUND);
    decode(&m, &latent, ~0u, &got);
    parity_expect("frames, fast rows", got.data, &want, BOUND);

    /* The bound sees the growth layer's other rows: they stand in front of those that were bound. */
    float kept[1];
    memcpy(kept, m.stage[1].block[0].conv[0].bias.data, sizeof kept);
    ((float *)m.stage[1].block[0].conv[0].bias.data)[0] += 1e-2f;
    decode(&m, &latent, ~0u, &got);
    assert_true(parity_distance(got.data, want.data, swan_tensor_count(&want)) > 10 * BOUND);
    ((float *)m.stage[1].block[0].conv[0].bias.data)[0] = kept[0];
    m.stage[0].grow_weight.data = swan_ckpt_find(ckpt, "decoder.7.conv.weight")->data;
    decode(&m, &latent, ~0u, &got);
    assert_true(parity_distance(got.data, want.data, swan_tensor_count(&want)) > 0.1);

    free(got.data);
    free(latent.data);
    free(want.data);
    free(used);
    swan_arena_free(&weights);
    swan_ckpt_close(ckpt);
}

/* The merged form in F32: the same frames, in any batches. */
static void merged_against_reference(void **state)
{
    (void)state;
    swan_ckpt *ckpt;
    swan_arena weights;
    swan_taehv m;
    assert_ok(swan_ckpt_open(PARITY_DATA "taehv-tiny.safetensors", NULL, &ckpt));
    uint8_t *used = calloc(swan_ckpt_count(ckpt), 1);
    assert_non_null(used);
    swan_weight_loader loader = {.ckpt = ckpt, .used = used};
    PARITY_BIND(loader, weights, swan_taehv_load_merged(&m, &loader, SWAN_F32));
    swan_tensor latent = parity_load("taehv/latent.npy"), want = parity_load("taehv/frames.npy");
    frames got = {.data = malloc(swan_tensor_bytes(&want))};
    assert_non_null(got.data);
    int64_t frame = latent.ne[2] * latent.ne[3] * m.stage[0].width * (int64_t)sizeof(float);
    const int64_t budgets[] = {1, frame, 2 * frame, 9 * frame, m.batch_bytes};
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
        m.batch_bytes = budgets[i];
        decode(&m, &latent, 0, &got);
        assert_int_equal(got.count, want.ne[0]);
        parity_expect("frames, merged", got.data, &want, BOUND);
    }
    ((float *)m.stage[2].up.data)[5] += 1e-2f;
    decode(&m, &latent, 0, &got);
    assert_true(parity_distance(got.data, want.data, swan_tensor_count(&want)) > 10 * BOUND);

    free(got.data);
    free(latent.data);
    free(want.data);
    free(used);
    swan_arena_free(&weights);
    swan_ckpt_close(ckpt);
}

/* What is F16 and what stays f32. */
static void merged_in_f16(void **state)
{
    (void)state;
    swan_ckpt *ckpt;
    swan_arena weights;
    swan_taehv m;
    assert_ok(swan_ckpt_open(PARITY_DATA "taehv-tiny.safetensors", NULL, &ckpt));
    swan_weight_loader loader = {.ckpt = ckpt};
    PARITY_BIND(loader, weights, swan_taehv_load_merged(&m, &loader, SWAN_F16));
    assert_int_equal(m.format, SWAN_F16);
    assert_int_equal(m.stage[2].up.dtype, SWAN_F16);
    assert_int_equal(m.in.weight.dtype, SWAN_F16);
    assert_int_equal(m.in.bias.dtype, SWAN_F32);
    assert_null(m.stage[0].conv.weight.data);
    swan_arena_free(&weights);
    swan_ckpt_close(ckpt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_reference), cmocka_unit_test(merged_against_reference),
                                       cmocka_unit_test(merged_in_f16)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
