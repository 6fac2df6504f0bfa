/* A prompt of n tokens is followed by 512 - n rows of zeros, which take part in cross-attention. Swan keeps one of them with a
 * bias of log(512 - n). Here that is compared with the plain form, all 512 rows: keys and values, the attention itself against
 * fp64, and a whole forward pass. */
#include <math.h>

#include "base/rng.h"
#include "session.h"

enum { QUERIES = 37 };

/* eps * sqrt(terms) is the size of the rounding error of a sum of that many terms, of random signs, in fp32. */
static double rounding(double terms) { return ldexp(1, -24) * sqrt(terms); }

typedef struct setup {
    test_run run;
    swan_kernels kernels;
    float *rows; /* f32 [512, text_dim]: n rows of noise, then zeros */
} setup;

static void setup_open(setup *s, unsigned features)
{
    test_open(&s->run, "wan-tiny", NULL);
    assert_ok(swan_kernels_pick(SWAN_ARCH_CPU, SWAN_F32, features & swan_kernel_cpu_features(), NULL, &s->kernels));
    s->rows = calloc((size_t)(SWAN_TEXT_TOKENS * s->run.engine->dit.config.text_dim), sizeof *s->rows);
    assert_non_null(s->rows);
}

static void setup_close(setup *s)
{
    free(s->rows);
    test_close(&s->run);
}

static void fill(setup *s, int64_t n)
{
    int64_t width = s->run.engine->dit.config.text_dim;
    swan_rng rng;
    swan_rng_seed(&rng, (uint64_t)n);
    memset(s->rows, 0, (size_t)(SWAN_TEXT_TOKENS * width) * sizeof *s->rows);
    swan_rng_normal_f32(&rng, s->rows, (size_t)(n * width));
}

/* Keys and values of every block in memory of its own, and whatever else the caller computes from the same arena. */
typedef struct prompt_rows {
    swan_arena arena;
    swan_ctx ctx;
    swan_wan_text text;
} prompt_rows;

typedef struct forward {
    const float *latent;
    float *velocity;
} forward;

static swan_status compute(setup *s, prompt_rows *p, int64_t n, const forward *f)
{
    struct swan_session *session = s->run.session;
    const swan_wan_dit *dit = &s->run.engine->dit;
    SWAN_TRY(swan_wan_text_reserve(dit, &p->ctx, n, &p->text));
    swan_tensor context = swan_tensor_2d(s->rows, SWAN_F32, p->text.rows, dit->config.text_dim);
    if (p->ctx.mode != SWAN_DRY) swan_wan_text_bias(n, p->text.rows, p->text.bias.data);
    SWAN_TRY(swan_wan_text_run(dit, &p->ctx, &context, NULL, &p->text));
    if (!f) return SWAN_OK;
    swan_tensor latent = session->state.buffer[SWAN_SCHED_SAMPLE], velocity = latent;
    latent.data = (void *)(uintptr_t)f->latent;
    velocity.data = f->velocity;
    swan_tensor e;
    SWAN_TRY(swan_ctx_tensor(&p->ctx, SWAN_F32, 2, (int64_t[]){swan_wan_modulation_rows(dit), dit->config.dim}, "modulation", &e));
    SWAN_TRY(swan_wan_modulation_run(dit, &p->ctx, 757, &e));
    return swan_wan_dit_forward(dit, &p->ctx, &(swan_wan_step){.geometry = &session->geometry, .text = &p->text, .modulation = &e}, &latent, &velocity);
}

static void rows_open(setup *s, prompt_rows *p, int64_t n, const forward *f)
{
    swan_arena_dry(&p->arena, "rows");
    p->ctx = (swan_ctx){.mode = SWAN_DRY, .kernels = &s->kernels, .stream = &s->run.session->stream, .arena = &p->arena};
    assert_ok(compute(s, p, n, f));
    size_t peak = p->arena.peak + (1 << 20); /* and scratch of a single attention */
    assert_ok(swan_arena_reserve(&p->arena, "rows", peak));
    p->ctx.mode = SWAN_RUN;
    assert_ok(compute(s, p, n, f));
}

static double distance(const float *got, const double *want, int64_t n)
{
    double d = 0, w = 0;
    for (int64_t i = 0; i < n; i++) {
        d += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        w += want[i] * want[i];
    }
    double e = sqrt(d / w);
    return isfinite(e) ? e : INFINITY;
}

static double distance_f32(const float *got, const float *want, int64_t n)
{
    double *wide = malloc((size_t)n * sizeof *wide);
    assert_non_null(wide);
    for (int64_t i = 0; i < n; i++) wide[i] = want[i];
    double e = distance(got, wide, n);
    free(wide);
    return e;
}

/* softmax(q k^T / sqrt(d)) v over all rows of the plain form, in fp64. */
static void attention_f64(const swan_wan_config *c, const float *q, const float *k, const float *v, double *out)
{
    double score[SWAN_TEXT_TOKENS];
    for (int64_t head = 0; head < c->heads; head++)
        for (int64_t i = 0; i < QUERIES; i++) {
            double most = -INFINITY, sum = 0;
            double *y = out + i * c->dim + head * c->head_dim;
            for (int64_t j = 0; j < SWAN_TEXT_TOKENS; j++) {
                score[j] = 0;
                for (int64_t d = 0; d < c->head_dim; d++)
                    score[j] += (double)q[i * c->dim + head * c->head_dim + d] * (double)k[j * c->dim + head * c->head_dim + d];
                score[j] /= sqrt((double)c->head_dim);
                if (score[j] > most) most = score[j];
            }
            for (int64_t d = 0; d < c->head_dim; d++) y[d] = 0;
            for (int64_t j = 0; j < SWAN_TEXT_TOKENS; j++) {
                double w = exp(score[j] - most);
                sum += w;
                for (int64_t d = 0; d < c->head_dim; d++) y[d] += w * (double)v[j * c->dim + head * c->head_dim + d];
            }
            for (int64_t d = 0; d < c->head_dim; d++) y[d] /= sum;
        }
}

/* The attention of a block's rows, with the op that the transformer uses. */
static void attend(setup *s, prompt_rows *p, const float *q, float *out)
{
    const swan_wan_config *c = &s->run.engine->dit.config;
    swan_tensor query = swan_tensor_2d((void *)(uintptr_t)q, SWAN_F32, QUERIES, c->dim), y = query;
    swan_tensor k = swan_tensor_2d(p->text.k.data, SWAN_F32, p->text.rows, c->dim), v = k;
    v.data = p->text.v.data;
    y.data = out;
    swan_attention how = {.heads = c->heads, .scale = 1.0f / sqrtf((float)c->head_dim), .key_bias = &p->text.bias};
    assert_ok(swan_op_attention(&p->ctx, &how, &(swan_qkv){.q = query, .k = k, .v = v}, &y));
}

/* Keys and values: a zero row becomes the same row wherever it stands. */
static void compare_rows(const setup *s, const prompt_rows *one, const prompt_rows *all, int64_t n)
{
    const swan_wan_config *c = &s->run.engine->dit.config;
    /* text embedding (text_dim and dim products), then dim products and an RMS norm: rounding of each, in one norm */
    double bound = 8 * rounding((double)(c->text_dim + 2 * c->dim));
    for (int layer = 0; layer < c->layers; layer++)
        for (int64_t row = 0; row < SWAN_TEXT_TOKENS; row++) {
            int64_t kept = row < n ? row : n;
            const float *a = (const float *)one->text.k.data + (layer * one->text.rows + kept) * c->dim;
            const float *b = (const float *)all->text.k.data + (layer * SWAN_TEXT_TOKENS + row) * c->dim;
            assert_true(distance_f32(a, b, c->dim) <= bound);
            a = (const float *)one->text.v.data + (layer * one->text.rows + kept) * c->dim;
            b = (const float *)all->text.v.data + (layer * SWAN_TEXT_TOKENS + row) * c->dim;
            assert_true(distance_f32(a, b, c->dim) <= bound);
        }
}

static void compare_attention(setup *s, prompt_rows *one, prompt_rows *all, int64_t n)
{
    const swan_wan_config *c = &s->run.engine->dit.config;
    size_t count = (size_t)(QUERIES * c->dim);
    float *q = malloc(count * sizeof *q), *a = malloc(count * sizeof *a), *b = malloc(count * sizeof *b);
    double *want = malloc(count * sizeof *want);
    assert_true(q && a && b && want);
    swan_rng rng;
    swan_rng_seed(&rng, 99);
    swan_rng_normal_f32(&rng, q, count);
    attention_f64(c, q, all->text.k.data, all->text.v.data, want);
    attend(s, one, q, a);
    attend(s, all, q, b);
    double collapsed = distance(a, want, (int64_t)count), plain = distance(b, want, (int64_t)count);
    /* both sum head_dim products for a score and 512 weights; the row that stands for others also rounds its logarithm */
    double bound = 4 * rounding((double)(c->head_dim + SWAN_TEXT_TOKENS));
    print_message("  n = %3d: one row for the zeros %.2e, all of them %.2e from fp64 (bound %.1e)\n", (int)n, collapsed, plain, bound);
    assert_true(collapsed <= bound);
    assert_true(plain <= bound);
    /* one zero row more than there are, and none, which n rows would be enough for: the comparison must see either */
    const float wrong[] = {logf((float)(SWAN_TEXT_TOKENS - n + 1)), -INFINITY};
    for (int i = 0; i < 2 && n < SWAN_TEXT_TOKENS; i++) {
        float *bias = one->text.bias.data;
        bias[n] = wrong[i];
        attend(s, one, q, a);
        swan_wan_text_bias(n, one->text.rows, bias);
        double e = distance(a, want, (int64_t)count);
        print_message("           with %s %.2e\n", i ? "none of them" : "one more", e);
        assert_true(e > 10 * bound);
    }
    free(q);
    free(a);
    free(b);
    free(want);
}

static void collapsed_equals_plain(void **state)
{
    (void)state;
    static const int64_t lengths[] = {1, 7, 128, 511, 512};
    for (unsigned fast = 0; fast < 2; fast++)
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            setup s;
            prompt_rows one, all;
            int64_t n = lengths[i];
            setup_open(&s, fast ? ~0u : 0);
            fill(&s, n);
            size_t size = (size_t)swan_tensor_count(&s.run.session->state.buffer[SWAN_SCHED_SAMPLE]);
            float *latent = malloc(size * sizeof *latent), *v1 = malloc(size * sizeof *v1), *v2 = malloc(size * sizeof *v2);
            assert_true(latent && v1 && v2);
            swan_rng rng;
            swan_rng_seed(&rng, 5);
            swan_rng_normal_f32(&rng, latent, size);
            rows_open(&s, &one, n, &(forward){latent, v1});
            rows_open(&s, &all, SWAN_TEXT_TOKENS, &(forward){latent, v2});
            assert_int_equal(one.text.rows, n < SWAN_TEXT_TOKENS ? n + 1 : n);
            compare_rows(&s, &one, &all, n);
            compare_attention(&s, &one, &all, n);
            /* through all blocks: two fp32 evaluations of the same sums */
            double e = distance_f32(v1, v2, (int64_t)size);
            print_message("  n = %3d: velocities %.2e apart\n", (int)n, e);
            assert_true(n < SWAN_TEXT_TOKENS ? e <= 3e-6 : e == 0);
            swan_arena_free(&one.arena);
            swan_arena_free(&all.arena);
            free(latent);
            free(v1);
            free(v2);
            setup_close(&s);
        }
}

static void the_bias(void **state)
{
    (void)state;
    float bias[SWAN_TEXT_TOKENS + 1];
    for (int padded = 0; padded < 2; padded++)
        for (int64_t n = 1; n <= SWAN_TEXT_TOKENS; n++) {
            int64_t rows = swan_wan_text_rows(n, padded);
            for (int i = 0; i <= SWAN_TEXT_TOKENS; i++) bias[i] = NAN;
            swan_wan_text_bias(n, rows, bias);
            for (int64_t i = 0; i < n; i++) assert_true(bias[i] == 0);
            if (n < SWAN_TEXT_TOKENS) assert_true(fabs((double)bias[n] - log((double)(SWAN_TEXT_TOKENS - n))) <= ldexp(1, -22));
            for (int64_t i = n + 1; i < rows; i++) assert_true(isinf(bias[i]) && bias[i] < 0);
            assert_true(isnan(bias[rows])); /* nothing is written behind the end */
        }
}

/* A GPU meets four numbers of rows; the host those of the prompt and one more for the zero rows. */
static void numbers_of_rows(void **state)
{
    (void)state;
    static const int64_t shapes[SWAN_WAN_TEXT_SHAPES] = {64, 128, 256, 512};
    static const struct {
        int64_t n, host, padded;
    } cases[] = {{1, 2, 64}, {62, 63, 64}, {63, 64, 64}, {64, 65, 128}, {65, 66, 128}, {127, 128, 128}, {128, 129, 256},
                 {129, 130, 256}, {255, 256, 256}, {256, 257, 512}, {511, 512, 512}, {512, 512, 512}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(swan_wan_text_rows(cases[i].n, false), cases[i].host);
        assert_int_equal(swan_wan_text_rows(cases[i].n, true), cases[i].padded);
    }
    for (int64_t n = 1; n <= SWAN_TEXT_TOKENS; n++) {
        int64_t rows = swan_wan_text_rows(n, true);
        int known = 0;
        for (int i = 0; i < SWAN_WAN_TEXT_SHAPES; i++) known += rows == shapes[i];
        assert_true(known == 1 && rows >= swan_wan_text_rows(n, false));
    }
}

static void impossible_lengths(void **state)
{
    (void)state;
    setup s;
    swan_wan_text text;
    swan_arena dry;
    setup_open(&s, ~0u);
    swan_arena_dry(&dry, "rows");
    swan_ctx ctx = {.mode = SWAN_DRY, .kernels = &s.kernels, .stream = &s.run.session->stream, .arena = &dry};
    assert_int_equal(swan_wan_text_reserve(&s.run.engine->dit, &ctx, 0, &text), SWAN_E_BUG);
    assert_int_equal(swan_wan_text_reserve(&s.run.engine->dit, &ctx, SWAN_TEXT_TOKENS + 1, &text), SWAN_E_BUG);
    assert_string_equal(swan_last_error(), "text: 513 tokens");
    setup_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bias), cmocka_unit_test(numbers_of_rows),
        cmocka_unit_test(collapsed_equals_plain),
        cmocka_unit_test(impossible_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
