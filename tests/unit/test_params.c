/* The option table: every option set and read back, ranges, and what the messages say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include "pipe/params.h"

static int open_params(void **state)
{
    swan_params *p;
    if (swan_params_new(&p) != SWAN_OK) return -1;
    *state = p;
    return 0;
}

static int close_params(void **state)
{
    swan_params_free(*state);
    return 0;
}

/* What each option is worth when nothing was set. Every row of the table must be here. */
static const struct {
    const char *key, *unset;
    const char *good[4], *read[4]; /* values that are taken, and how they read back (NULL: the same) */
} rows[] = {
    {"model", "", {"a dir/with spaces", "/", "x"}, {0}},
    {"transformer", "", {"t.safetensors"}, {0}},
    {"taehv", "", {"d.safetensors"}, {0}},
    {"weights", "files", {"files", "random"}, {0}},
    {"device", "", {"auto", "cpu"}, {0}},
    {"graphs", "on", {"on", "off"}, {0}},
    {"vram", "", {"8G", "7.5G", "800M", "4096"}, {"8589934592", "8053063680", "838860800", NULL}},
    {"threads", "0", {"0", "1", "1024", "+7"}, {NULL, NULL, NULL, "7"}},
    {"precision", "auto", {"auto", "exact", "parity-bf16"}, {0}},
    {"exact", "false", {"true", "false", "1", "0"}, {NULL, NULL, "true", "false"}},
    {"parity_bf16", "false", {"true", "false", "1", "0"}, {NULL, NULL, "true", "false"}},
    {"kernels", "", {"attn.dense=ref"}, {0}},
    {"prompt", "", {"a \xF0\x9F\x90\x87 runs", ""}, {0}},
    {"negative_prompt", "", {"dark", ""}, {0}},
    {"size", "", {"832x480", "16x16", "16384X16384", "832*480"}, {NULL, NULL, "16384x16384", "832x480"}},
    {"num_frames", "", {"1", "81", "4097"}, {0}},
    {"fps", "", {"1", "24", "240"}, {0}},
    {"seed", "-1", {"0", "4294967295", "-1", "0000000007"}, {NULL, NULL, NULL, "7"}},
    {"num_inference_steps", "", {"1", "50", "1000"}, {0}},
    {"sampler", "", {"dmd", "unipc", "euler"}, {0}},
    {"sigma_grid", "", {"default", "diffusers", "fastvideo", "flow-match"}, {0}},
    {"flow_shift", "", {"0.01", "3", "100", "8e0"}, {NULL, NULL, NULL, "8"}},
    {"guidance_scale", "", {"0", "5.5", "100"}, {0}},
    {"attention", "auto", {"auto", "dense", "vsa"}, {0}},
    {"vsa_sparsity", "", {"0", "0.8", "1", ".9"}, {NULL, NULL, NULL, "0.9"}},
    {"noise", "", {"n.npy"}, {0}},
    {"output", "", {"a.mp4"}, {0}},
    {"dump", "", {"folder"}, {0}},
    {"trace", "", {"calls.tsv"}, {0}},
    {"encoder", "", {"libx264"}, {0}},
    {"preset", "", {"slow"}, {0}},
    {"quality", "18", {"1", "51"}, {0}},
    {"no_metadata", "false", {"true", "false", "1", "0"}, {NULL, NULL, "true", "false"}},
};
#define ROWS (sizeof rows / sizeof rows[0])

static void every_option_round_trips(void **state)
{
    swan_params *p = *state;
    size_t options = 0;
    while (swan_option_at(options)) options++;
    assert_int_equal(options, ROWS);
    for (size_t i = 0; i < ROWS; i++) {
        assert_string_equal(swan_option_at(i)->key, rows[i].key); /* the documented order */
        assert_string_equal(swan_params_get(p, rows[i].key), rows[i].unset);
    }
    for (size_t i = 0; i < ROWS; i++)
        for (int k = 0; k < 4 && rows[i].good[k]; k++) {
            if (swan_params_set(p, rows[i].key, rows[i].good[k]) != SWAN_OK) fail_msg("%s", swan_last_error());
            assert_string_equal(swan_params_get(p, rows[i].key), rows[i].read[k] ? rows[i].read[k] : rows[i].good[k]);
        }
}

static void the_table_is_consistent(void **state)
{
    (void)state;
    const swan_option *a, *b;
    for (size_t i = 0; (a = swan_option_at(i)) != NULL; i++) {
        assert_non_null(a->help);
        assert_true(strlen(a->help) > 10);
        assert_true(!a->flag || strncmp(a->flag, "--", 2) == 0);
        assert_true(a->groups == SWAN_GROUP_MODEL || a->groups == SWAN_GROUP_VIDEO || a->groups == SWAN_GROUP_OUTPUT);
        for (size_t j = 0; j < i; j++) {
            b = swan_option_at(j);
            assert_string_not_equal(a->key, b->key);
            if (a->flag && b->flag) assert_string_not_equal(a->flag, b->flag);
            assert_true(!a->letter || a->letter != b->letter);
        }
        if (!a->fallback) continue; /* a default that is shown is the one that holds */
        swan_params *fresh;
        assert_int_equal(swan_params_new(&fresh), SWAN_OK);
        const char *got = swan_params_get(fresh, a->key);
        assert_true(!*got || strcmp(got, a->fallback) == 0);
        swan_params_free(fresh);
    }
    assert_null(swan_option_at(100000));
    assert_null(swan_option_at(SIZE_MAX));
}

/* A value that is refused leaves the one before, and the message names the option, what is wanted and what was found. */
static void wrong_values(void **state)
{
    static const struct {
        const char *key, *value, *wanted;
    } cases[] = {
        {"threads", "-1", "an integer from 0 to 1024"},        {"threads", "1025", "an integer from 0 to 1024"},
        {"threads", "two", "an integer from 0 to 1024"},       {"threads", "", "an integer from 0 to 1024"},
        {"threads", "1.5", "an integer from 0 to 1024"},       {"threads", "4x", "an integer from 0 to 1024"},
        {"threads", " 4", "an integer from 0 to 1024"},        {"threads", "0x10", "an integer from 0 to 1024"},
        {"threads", "99999999999999999999", "an integer from 0 to 1024"}, {"threads", "--4", "an integer from 0 to 1024"},
        {"threads", "-", "an integer from 0 to 1024"},         {"num_frames", "0", "an integer from 1 to 4097"},
        {"num_frames", "4098", "an integer from 1 to 4097"},   {"num_frames", "-5", "an integer from 1 to 4097"},
        {"fps", "0", "an integer from 1 to 240"},              {"fps", "241", "an integer from 1 to 240"},
        {"num_inference_steps", "0", "an integer from 1 to 1000"}, {"num_inference_steps", "1001", "an integer from 1 to 1000"},
        {"num_inference_steps", "3 ", "an integer from 1 to 1000"}, {"quality", "0", "an integer from 1 to 51"},
        {"quality", "52", "an integer from 1 to 51"},          {"flow_shift", "0", "a number from 0.01 to 100"},
        {"flow_shift", "101", "a number from 0.01 to 100"},    {"flow_shift", "nan", "a number from 0.01 to 100"},
        {"flow_shift", "inf", "a number from 0.01 to 100"},    {"flow_shift", "1e999", "a number from 0.01 to 100"},
        {"flow_shift", "0x1p3", "a number from 0.01 to 100"},  {"flow_shift", "3,5", "a number from 0.01 to 100"},
        {"guidance_scale", "-0.1", "a number from 0 to 100"},  {"guidance_scale", "100.5", "a number from 0 to 100"},
        {"guidance_scale", "5..0", "a number from 0 to 100"},  {"guidance_scale", "e", "a number from 0 to 100"},
        {"vsa_sparsity", "1.01", "a number from 0 to 1"},      {"vsa_sparsity", "-1", "a number from 0 to 1"},
        {"vsa_sparsity", "80%", "a number from 0 to 1"},       {"seed", "-2", "an integer from 0 to 4294967295, or -1"},
        {"seed", "4294967296", "an integer from 0 to 4294967295, or -1"}, {"seed", "1.0", "an integer from 0 to 4294967295, or -1"},
        {"seed", "", "an integer from 0 to 4294967295, or -1"}, {"seed", "00000000000", "an integer from 0 to 4294967295, or -1"},
        {"seed", "random", "an integer from 0 to 4294967295, or -1"}, {"seed", "+1", "an integer from 0 to 4294967295, or -1"},
        {"size", "", "WxH, such as 832x480"},                  {"size", "832", "WxH, such as 832x480"},
        {"size", "832x", "WxH, such as 832x480"},              {"size", "x480", "WxH, such as 832x480"},
        {"size", "832x480x3", "WxH, such as 832x480"},         {"size", "-832x480", "WxH, such as 832x480"},
        {"size", "832 x 480", "WxH, such as 832x480"},         {"size", "1000000x480", "WxH, such as 832x480"},
        {"size", "8.5x480", "WxH, such as 832x480"},           {"size", "0x0", "16 to 16384 pixels each way"},
        {"size", "832x15", "16 to 16384 pixels each way"},     {"size", "16385x480", "16 to 16384 pixels each way"},
        {"sampler", "DMD", "dmd|unipc|euler"},                 {"sampler", "", "dmd|unipc|euler"},
        {"sampler", "dmd|unipc", "dmd|unipc|euler"},           {"sampler", "uni", "dmd|unipc|euler"},
        {"sigma_grid", "linear", "default|diffusers|original|fastvideo|flow-match"},
        {"attention", "sparse", "auto|dense|vsa"},             {"precision", "fp32", "auto|exact|parity-bf16"},
        {"exact", "yes", "true or false"},                     {"no_metadata", "", "true or false"},
    };
    swan_params *p = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char before[64], message[256];
        snprintf(before, sizeof before, "%s", swan_params_get(p, cases[i].key));
        if (swan_params_set(p, cases[i].key, cases[i].value) != SWAN_E_INVALID)
            fail_msg("%s took \"%s\"", cases[i].key, cases[i].value);
        snprintf(message, sizeof message, "%s: wanted %s", cases[i].key, cases[i].wanted);
        if (strncmp(swan_last_error(), message, strlen(message)) != 0) fail_msg("\"%s\" is not \"%s\"", swan_last_error(), message);
        snprintf(message, sizeof message, "found \"%s\"", cases[i].value);
        assert_non_null(strstr(swan_last_error(), message));
        assert_string_equal(swan_params_get(p, cases[i].key), before);
    }
}

static void unknown_keys(void **state)
{
    swan_params *p = *state;
    assert_int_equal(swan_params_set(p, "frames", "9"), SWAN_E_INVALID);
    assert_string_equal(swan_last_error(), "there is no option \"frames\"");
    assert_int_equal(swan_params_set(p, "", ""), SWAN_E_INVALID);
    assert_null(swan_params_get(p, "--seed"));
    assert_null(swan_params_get(p, ""));
}

/* --exact and --parity-bf16 are other names for --precision; the last one given wins. */
static void precision_and_its_switches(void **state)
{
    swan_params *p = *state;
    assert_int_equal(swan_params_set(p, "exact", "true"), SWAN_OK);
    assert_string_equal(swan_params_get(p, "precision"), "exact");
    assert_int_equal(swan_params_set(p, "parity_bf16", "true"), SWAN_OK);
    assert_string_equal(swan_params_get(p, "precision"), "parity-bf16");
    assert_string_equal(swan_params_get(p, "exact"), "false");
    assert_int_equal(swan_params_set(p, "exact", "false"), SWAN_OK); /* it was not on: nothing changes */
    assert_string_equal(swan_params_get(p, "precision"), "parity-bf16");
    assert_int_equal(swan_params_set(p, "parity_bf16", "false"), SWAN_OK);
    assert_string_equal(swan_params_get(p, "precision"), "auto");
}

static void size_sets_both(void **state)
{
    swan_params *p = *state;
    assert_int_equal(swan_params_set(p, "size", "832x480"), SWAN_OK);
    assert_int_equal(p->width, 832);
    assert_int_equal(p->height, 480);
    assert_int_not_equal(swan_params_set(p, "size", "64x0"), SWAN_OK);
    assert_int_equal(p->width, 832); /* not half of a size */
    assert_int_equal(p->height, 480);
}

static void long_text_is_kept_whole(void **state)
{
    swan_params *p = *state;
    enum { N = 100000 };
    char *text = malloc(N + 1);
    assert_non_null(text);
    memset(text, 'a', N);
    text[N] = 0;
    assert_int_equal(swan_params_set(p, "prompt", text), SWAN_OK);
    assert_string_equal(swan_params_get(p, "prompt"), text);
    /* a message about a value of any length stays one message */
    assert_int_equal(swan_params_set(p, "seed", text), SWAN_E_INVALID);
    assert_true(strlen(swan_last_error()) < 1024);
    assert_int_equal(strncmp(swan_last_error(), "seed: wanted", 12), 0);
    free(text);
}

static void a_copy_is_its_own(void **state)
{
    swan_params *p = *state, *copy;
    assert_int_equal(swan_params_set(p, "prompt", "one"), SWAN_OK);
    assert_int_equal(swan_params_set(p, "seed", "5"), SWAN_OK);
    assert_int_equal(swan_params_copy(p, &copy), SWAN_OK);
    assert_int_equal(swan_params_set(p, "prompt", "two"), SWAN_OK);
    assert_string_equal(swan_params_get(copy, "prompt"), "one");
    assert_string_equal(swan_params_get(copy, "seed"), "5");
    swan_params_free(copy);
    swan_params_free(NULL);
    assert_string_equal(swan_params_get(p, "prompt"), "two");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_params, close_params)
    const struct CMUnitTest tests[] = {
        TEST(every_option_round_trips), TEST(the_table_is_consistent), TEST(wrong_values), TEST(unknown_keys),
        TEST(precision_and_its_switches), TEST(size_sets_both), TEST(long_text_is_kept_whole), TEST(a_copy_is_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
