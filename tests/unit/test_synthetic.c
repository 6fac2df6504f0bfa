/* Models of random weights: the sizes are the published ones, the values random and repeatable, and they run. */
#include "session.h"
/* after cmocka */
#include <math.h>

#include "ckpt/random.h"
#include "pipe/synthetic.h"

static swan_params *params_of(const char *name)
{
    swan_params *p;
    assert_ok(swan_params_new(&p));
    assert_ok(swan_params_set(p, "model", name));
    assert_ok(swan_params_set(p, "weights", "random"));
    assert_ok(swan_params_set(p, "threads", "2"));
    assert_ok(swan_params_set(p, "device", "cpu"));
    return p;
}

static void sizes_are_published(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t text, dit;
        bool gates;
        double sparsity;
    } cases[] = {
        {"wan2.1-1.3b", 5680910336, 1418996800, false, 0},
        {"fastwan2.1-1.3b", 5680910336, 1489821760, true, 0.8},
        {"fastwan-qad-1.3b", 5680910336, 1418996800, false, 0},
        {"wan2.1-14b", 5680910336, 14288491584, false, 0},
        {"fastwan2.1-14b", 5680910336, 14288491584 + 40 * (5120 * 5120 + 5120), true, 0.9},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        swan_params *p = params_of(cases[i].name);
        swan_engine *e;
        assert_ok(swan_engine_open(p, NULL, &e));
        assert_int_equal(e->text_part.parameters, cases[i].text);
        assert_int_equal(e->dit_part.parameters, cases[i].dit);
        assert_int_equal(e->dit.config.gates, cases[i].gates);
        assert_int_equal(e->recipe.sampler, SWAN_SAMPLER_DMD);
        assert_int_equal(e->recipe.steps, 3);
        assert_true(e->recipe.guidance == 1 && e->recipe.sparsity == cases[i].sparsity);
        swan_engine_close(e);
        swan_params_free(p);
    }
}

static void names_are_listed(void **state)
{
    (void)state;
    swan_engine *e;
    swan_params *p = params_of("wan9");
    assert_int_equal(swan_engine_open(p, NULL, &e), SWAN_E_NOT_FOUND);
    assert_non_null(strstr(swan_last_error(), "wan2.1-1.3b, fastwan2.1-1.3b"));
    assert_non_null(strstr(swan_last_error(), "\"wan9\""));
    swan_params_free(p);
}

/* Mean and deviation of what a view holds; the same label, specs and seed give the same values, another seed does not. */
static void values_are_random(void **state)
{
    (void)state;
    static const swan_random_spec specs[] = {
        {"matrix", SWAN_RANDOM_MATRIX, 2, {3000, 1000}}, {"other", SWAN_RANDOM_MATRIX, 2, {70, 1000}},
        {"ones", SWAN_RANDOM_ONES, 1, {5000}},           {"small", SWAN_RANDOM_SMALL, 1, {5000}},
        {"conv", SWAN_RANDOM_CONV, 4, {64, 64, 3, 3}},   {"grey", SWAN_RANDOM_GREY, 1, {3}},
    };
    static const struct {
        double mean, deviation;
    } want[] = {{0, 0.02}, {0, 0.02}, {1, 0.02}, {0, 0.02}, {0, 0.03}, {0.5, 0.02}};
    enum { N = sizeof specs / sizeof specs[0] };
    swan_ckpt *a, *b, *c;
    assert_ok(swan_ckpt_random("a", specs, N, 5, &a));
    assert_ok(swan_ckpt_random("b", specs, N, 5, &b));
    assert_ok(swan_ckpt_random("c", specs, N, 6, &c));
    assert_int_equal(swan_ckpt_count(a), N);
    for (size_t i = 0; i < N; i++) {
        const swan_tensor *t = swan_ckpt_find(a, specs[i].name), *same = swan_ckpt_find(b, specs[i].name), *other = swan_ckpt_find(c, specs[i].name);
        size_t n = (size_t)swan_tensor_count(t);
        float *x = malloc(n * sizeof *x);
        assert_non_null(x);
        assert_ok(swan_ckpt_read_f32(t, x));
        double sum = 0, square = 0;
        for (size_t k = 0; k < n; k++) sum += (double)x[k];
        for (size_t k = 0; k < n; k++) square += ((double)x[k] - sum / (double)n) * ((double)x[k] - sum / (double)n);
        double slack = 5 * want[i].deviation / sqrt((double)n); /* five deviations of a mean of n */
        assert_true(fabs(sum / (double)n - want[i].mean) < slack);
        if (n > 1000) assert_true(fabs(sqrt(square / (double)n) / want[i].deviation - 1) < 0.05);
        assert_memory_equal(t->data, same->data, swan_tensor_bytes(t));
        assert_memory_not_equal(t->data, other->data, swan_tensor_bytes(t));
        free(x);
    }
    assert_memory_not_equal(swan_ckpt_find(a, "matrix")->data, swan_ckpt_find(a, "other")->data, 1000);
    swan_ckpt_close(a);
    swan_ckpt_close(b);
    swan_ckpt_close(c);
    static const swan_random_spec twice[] = {{"x", SWAN_RANDOM_ONES, 1, {4}}, {"x", SWAN_RANDOM_SMALL, 1, {4}}};
    assert_int_equal(swan_ckpt_random("twice", twice, 2, 1, &a), SWAN_E_FORMAT);
    assert_null(a);
}

/* A tensor larger than the block of values, which repeats: still random from end to end, and 1.5 GB cost no memory to speak of. */
static void large_tensors_repeat(void **state)
{
    (void)state;
    static const swan_random_spec specs[] = {{"large", SWAN_RANDOM_MATRIX, 2, {768, 1 << 20}}};
    swan_ckpt *c;
    assert_ok(swan_ckpt_random("large", specs, 1, 1, &c));
    const swan_tensor *t = swan_ckpt_find(c, "large");
    const uint16_t *x = t->data;
    size_t block = (64u << 20) / 2, n = (size_t)swan_tensor_count(t);
    for (size_t i = 0; i + block < n; i += 1 << 20) assert_int_equal(x[i], x[i + block]);
    size_t equal = 0;
    for (size_t i = 0; i < 10000; i++) equal += x[n - 1 - i] == x[n - 2 - i];
    assert_true(equal < 200);
    swan_ckpt_close(c);
}

static void words_are_tokens(void **state)
{
    (void)state;
    int32_t ids[8];
    int n;
    swan_synthetic_tokenize(512, "  a cat,\n a  dog ", ids, 8, &n);
    assert_int_equal(n, 5);
    assert_int_equal(ids[0], ids[2]);
    assert_int_not_equal(ids[1], ids[3]);
    assert_int_equal(ids[4], 1);
    for (int i = 0; i < 4; i++) assert_true(ids[i] >= 2 && ids[i] < 512);
    swan_synthetic_tokenize(512, "", ids, 8, &n);
    assert_int_equal(n, 1);
    swan_synthetic_tokenize(512, "1 2 3 4 5 6 7 8 9", ids, 8, &n);
    assert_int_equal(n, 8);
    assert_int_equal(ids[7], 1);
}

/* The last frame is neither black, white nor of one colour. */
static void expect_a_picture(const struct swan_session *s)
{
    const uint8_t *rgb = s->state.rgb.data;
    int64_t n = swan_tensor_count(&s->state.rgb) / 3;
    for (int c = 0; c < 3; c++) {
        double sum = 0, square = 0;
        for (int64_t i = 0; i < n; i++) sum += rgb[3 * i + c], square += (double)rgb[3 * i + c] * rgb[3 * i + c];
        double deviation = sqrt(square / (double)n - sum / (double)n * (sum / (double)n));
        assert_true(deviation > 2 && deviation < 80);
        assert_true(sum / (double)n > 64 && sum / (double)n < 192);
    }
}

static void they_run(void **state)
{
    (void)state;
    static const char *const names[] = {"tiny", "fasttiny"};
    for (int i = 0; i < 2; i++) {
        swan_params *p = params_of(names[i]);
        assert_ok(swan_params_set(p, "size", "64x48"));
        assert_ok(swan_params_set(p, "num_frames", "9"));
        swan_engine *e;
        swan_session *s;
        swan_report report;
        assert_ok(swan_engine_open(p, NULL, &e));
        assert_ok(swan_session_open(e, p, NULL, &s));
        assert_ok(swan_session_generate(s, "one two three", 1, &report));
        assert_int_equal(report.steps, 3);
        const swan_tensor *latent = &s->state.buffer[SWAN_SCHED_SAMPLE];
        const float *x = latent->data;
        double square = 0;
        for (int64_t k = 0; k < swan_tensor_count(latent); k++) square += (double)x[k] * (double)x[k];
        square /= (double)swan_tensor_count(latent);
        assert_true(square > 0.01 && square < 100); /* alive, and far from overflow */
        expect_a_picture(s);
        swan_session_close(s);
        swan_engine_close(e);
        swan_params_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sizes_are_published), cmocka_unit_test(names_are_listed), cmocka_unit_test(values_are_random),
                                       cmocka_unit_test(large_tensors_repeat), cmocka_unit_test(words_are_tokens), cmocka_unit_test(they_run)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
