/* The UMT5 encoder against transformers' UMT5EncoderModel. Fixtures: tools/fixtures/umt5.py. */
#include "model/umt5.h"
#include "parity.h"

/* The reference in fp32 is 4.4e-7 from fp64 (umt5.py prints it), ours adds as much; four times that is left for other
 * orders of summation. A wrong bucket, norm or scale moves the result by more than 1e-3. */
#define BOUND 2e-6

typedef struct encoder {
    swan_ckpt *ckpt;
    swan_arena weights;
    swan_umt5 model;
} encoder;

static void encoder_open(encoder *e, const char *directory)
{
    char path[256];
    swan_umt5_config config;
    snprintf(path, sizeof path, "%s/config.json", directory);
    assert_ok(swan_umt5_config_read(path, &config));
    assert_ok(swan_ckpt_open(directory, "model", &e->ckpt));
    uint8_t *used = calloc(swan_ckpt_count(e->ckpt), 1);
    assert_non_null(used);
    swan_weight_loader loader = {.ckpt = e->ckpt, .used = used};
    PARITY_BIND(loader, e->weights, swan_umt5_load(&e->model, &config, &loader));
    free(used);
}

static void encoder_close(encoder *e)
{
    swan_arena_free(&e->weights);
    swan_ckpt_close(e->ckpt);
}

/* context f32 [n, width] from malloc. */
static float *encode(const encoder *e, const int32_t *ids, int64_t n, unsigned features)
{
    parity_run r;
    parity_open(&r, features);
    const swan_umt5_config *c = &e->model.config;
    float *out = malloc((size_t)(n * c->width) * sizeof *out);
    int32_t *bias = malloc((size_t)(c->heads * (2 * n - 1)) * sizeof *bias);
    assert_true(out && bias);
    swan_umt5_bias_ids(c, n, bias);
    swan_tensor id = swan_tensor_1d((void *)ids, SWAN_I32, n), context = swan_tensor_2d(out, SWAN_F32, n, c->width);
    swan_tensor where = swan_tensor_1d(bias, SWAN_I32, c->heads * (2 * n - 1));
    swan_umt5_input in = {.ids = &id, .bias_ids = &where};
    assert_ok(swan_umt5_forward(&e->model, &r.ctx, &in, &context));
    parity_reserve(&r);
    assert_ok(swan_umt5_forward(&e->model, &r.ctx, &in, &context));
    free(bias);
    parity_close(&r);
    return out;
}

static void against_reference(void **state)
{
    (void)state;
    encoder e;
    encoder_open(&e, PARITY_DATA "wan-tiny/text_encoder");
    const int lengths[] = {1, 7, 150};
    for (int i = 0; i < 3; i++)
        for (unsigned fast = 0; fast < 2; fast++) {
            char name[64], what[64];
            snprintf(name, sizeof name, "umt5/ids_%d.npy", lengths[i]);
            swan_tensor ids = parity_load(name);
            snprintf(name, sizeof name, "umt5/hidden_%d.npy", lengths[i]);
            swan_tensor want = parity_load(name);
            assert_int_equal(ids.ne[0], lengths[i]);
            assert_int_equal(want.ne[1], e.model.config.width);
            float *got = encode(&e, ids.data, ids.ne[0], fast ? ~0u : 0);
            snprintf(what, sizeof what, "%d tokens, %s", lengths[i], fast ? "fast rows" : "portable rows");
            parity_expect(what, got, &want, BOUND);
            free(got);
            free(ids.data);
            free(want.data);
        }
    encoder_close(&e);
}

/* The same prompt through F32 and BF16 storage: what differs is the rounding of the stored weights, nothing else. */
static void stored_as_bf16(void **state)
{
    (void)state;
    encoder e;
    swan_tensor ids = parity_load("pipeline/dmd/ids.npy"), want = parity_load("pipeline/dmd/context.npy");
    encoder_open(&e, PARITY_DATA "fastwan-tiny/text_encoder");
    float *got = encode(&e, ids.data, ids.ne[0], ~0u);
    parity_expect("BF16 weights, fp32 maths", got, &want, BOUND);
    free(got);
    encoder_close(&e);
    encoder_open(&e, PARITY_DATA "wan-tiny/text_encoder");
    got = encode(&e, ids.data, ids.ne[0], ~0u);
    assert_true(parity_distance(got, want.data, swan_tensor_count(&want)) > 1e-4);
    free(got);
    encoder_close(&e);
    free(ids.data);
    free(want.data);
}

/* The bound sees one relative-position value out of place. */
static void a_wrong_bucket_is_seen(void **state)
{
    (void)state;
    encoder e;
    encoder_open(&e, PARITY_DATA "wan-tiny/text_encoder");
    swan_tensor ids = parity_load("umt5/ids_150.npy"), want = parity_load("umt5/hidden_150.npy");
    float *bias = e.model.layer[1].rel_bias.data;
    bias[15] = bias[14]; /* head 0: the farthest to the left */
    float *got = encode(&e, ids.data, ids.ne[0], ~0u);
    assert_true(parity_distance(got, want.data, swan_tensor_count(&want)) > 100 * BOUND);
    free(got);
    free(ids.data);
    free(want.data);
    encoder_close(&e);
}

static void buckets(void **state)
{
    (void)state;
    const int first[] = {8, 12, 16, 23, 32, 46, 64, 91}; /* of the eight wide buckets, as the reference rounds them */
    for (int d = 0; d < 600; d++) {
        int want = d;
        for (int i = 0; d >= 8 && i < 8; i++)
            if (d >= first[i]) want = 8 + i;
        assert_int_equal(swan_umt5_bucket(-d, 32, 128), want);
        if (d) assert_int_equal(swan_umt5_bucket(d, 32, 128), want + 16);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets),
        cmocka_unit_test(against_reference),
        cmocka_unit_test(stored_as_bf16),
        cmocka_unit_test(a_wrong_bucket_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
