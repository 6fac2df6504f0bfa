/* JSON settings: typed getters, defaults, and messages that name file, key, wanted and found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ckpt/config.h"
#include "scratch.h"

static const char text[] = "{\"layers\":30,\"eps\":1e-6,\"norm\":true,\"off\":false,\"name\":\"rms\",\"patch\":[1,2,2],"
                           "\"steps\":[1000,757,522],\"none\":null,\"real\":30.0,\"big\":9223372036854775807,"
                           "\"transformer\":[\"diffusers\",\"WanTransformer3DModel\"],\"image_encoder\":[null,null],"
                           "\"object\":{\"a\":1},\"empty\":[],\"control\":\"a\\u001bb\"}";

static int open_text(void **state)
{
    return swan_config_parse("dir/config.json", text, sizeof text - 1, (swan_config **)state) == SWAN_OK ? 0 : -1;
}

static int close_text(void **state)
{
    swan_config_close(*state);
    return 0;
}

/* got is want, and the message is "dir/config.json: " and the rest. */
#define REFUSED(got, want, rest)                                                                                       \
    do {                                                                                                               \
        assert_int_equal(got, want);                                                                                   \
        assert_string_equal(swan_last_error(), "dir/config.json: " rest);                                              \
    } while (0)

static void presence(void **state)
{
    const swan_config *cfg = *state;
    assert_true(swan_config_has(cfg, "layers"));
    assert_true(swan_config_has(cfg, "off"));
    assert_false(swan_config_has(cfg, "none"));
    assert_false(swan_config_has(cfg, "nothing"));
    assert_string_equal(swan_config_path(cfg), "dir/config.json");
}

static void integers(void **state)
{
    const swan_config *cfg = *state;
    int64_t v = -7;
    assert_int_equal(swan_config_int(cfg, "nothing", 1, 200, SWAN_OPTIONAL, &v), SWAN_OK);
    assert_int_equal(swan_config_int(cfg, "none", 1, 200, SWAN_OPTIONAL, &v), SWAN_OK);
    assert_int_equal(v, -7);
    REFUSED(swan_config_int(cfg, "nothing", 1, 200, SWAN_REQUIRED, &v), SWAN_E_NOT_FOUND,
            "wanted the key \"nothing\", not found");
    REFUSED(swan_config_int(cfg, "none", 1, 200, SWAN_REQUIRED, &v), SWAN_E_NOT_FOUND,
            "wanted the key \"none\", not found");
    REFUSED(swan_config_int(cfg, "layers", 31, 200, SWAN_OPTIONAL, &v), SWAN_E_FORMAT,
            "layers: wanted an integer from 31 to 200, found 30");
    REFUSED(swan_config_int(cfg, "layers", 1, 29, SWAN_OPTIONAL, &v), SWAN_E_FORMAT,
            "layers: wanted an integer from 1 to 29, found 30");
    REFUSED(swan_config_int(cfg, "real", 1, 200, SWAN_OPTIONAL, &v), SWAN_E_FORMAT,
            "real: wanted an integer from 1 to 200, found 30");
    REFUSED(swan_config_int(cfg, "patch", 1, 200, SWAN_OPTIONAL, &v), SWAN_E_FORMAT,
            "patch: wanted an integer from 1 to 200, found a list of 3");
    assert_int_equal(v, -7);
    assert_int_equal(swan_config_int(cfg, "layers", 30, 30, SWAN_REQUIRED, &v), SWAN_OK);
    assert_int_equal(v, 30);
    assert_int_equal(swan_config_int(cfg, "big", 1, INT64_MAX, SWAN_REQUIRED, &v), SWAN_OK);
    assert_true(v == INT64_MAX);
}

static void numbers(void **state)
{
    const swan_config *cfg = *state;
    double v = 0.5;
    assert_int_equal(swan_config_number(cfg, "nothing", 0, 1, SWAN_OPTIONAL, &v), SWAN_OK);
    assert_true(v == 0.5);
    REFUSED(swan_config_number(cfg, "name", 0, 1, SWAN_OPTIONAL, &v), SWAN_E_FORMAT,
            "name: wanted a number from 0 to 1, found \"rms\"");
    REFUSED(swan_config_number(cfg, "real", 0, 29.5, SWAN_OPTIONAL, &v), SWAN_E_FORMAT,
            "real: wanted a number from 0 to 29.5, found 30");
    assert_true(v == 0.5);
    assert_int_equal(swan_config_number(cfg, "eps", 0, 1, SWAN_REQUIRED, &v), SWAN_OK);
    assert_true(v == 1e-6);
    assert_int_equal(swan_config_number(cfg, "layers", 0, 100, SWAN_REQUIRED, &v), SWAN_OK);
    assert_true(v == 30);
}

static void booleans_and_strings(void **state)
{
    const swan_config *cfg = *state;
    bool b = true;
    const char *s = "kept";
    assert_int_equal(swan_config_bool(cfg, "none", SWAN_OPTIONAL, &b), SWAN_OK);
    assert_true(b);
    assert_int_equal(swan_config_bool(cfg, "off", SWAN_REQUIRED, &b), SWAN_OK);
    assert_false(b);
    REFUSED(swan_config_bool(cfg, "layers", SWAN_OPTIONAL, &b), SWAN_E_FORMAT,
            "layers: wanted true or false, found 30");
    assert_int_equal(swan_config_string(cfg, "none", SWAN_OPTIONAL, &s), SWAN_OK);
    assert_string_equal(s, "kept");
    REFUSED(swan_config_string(cfg, "object", SWAN_OPTIONAL, &s), SWAN_E_FORMAT,
            "object: wanted a string, found an object");
    REFUSED(swan_config_string(cfg, "norm", SWAN_OPTIONAL, &s), SWAN_E_FORMAT, "norm: wanted a string, found true");
    assert_int_equal(swan_config_string(cfg, "name", SWAN_REQUIRED, &s), SWAN_OK);
    assert_string_equal(s, "rms");
    REFUSED(swan_config_bool(cfg, "control", SWAN_OPTIONAL, &b), SWAN_E_FORMAT,
            "control: wanted true or false, found \"a?b\"");
}

static void lists(void **state)
{
    const swan_config *cfg = *state;
    const swan_config_list three = {1, 1000, 3, 3}, some = {0, 1000, 1, 8}, low = {0, 999, 1, 8}, two = {0, 1000, 1, 2};
    int64_t v[8] = {9, 9, 9};
    int n = 5;
    const char *s[2] = {"x", "y"};
    assert_int_equal(swan_config_ints(cfg, "none", &some, SWAN_OPTIONAL, v, &n), SWAN_OK);
    assert_int_equal(n, 5);
    REFUSED(swan_config_ints(cfg, "steps", &two, SWAN_OPTIONAL, v, &n), SWAN_E_FORMAT,
            "steps: wanted a list of 1 to 2 integers from 0 to 1000, found a list of 3");
    REFUSED(swan_config_ints(cfg, "steps", &low, SWAN_OPTIONAL, v, &n), SWAN_E_FORMAT,
            "steps[0]: wanted a list of 1 to 8 integers from 0 to 999, found 1000");
    REFUSED(swan_config_ints(cfg, "empty", &three, SWAN_OPTIONAL, v, &n), SWAN_E_FORMAT,
            "empty: wanted a list of 3 integers from 1 to 1000, found a list of 0");
    REFUSED(swan_config_ints(cfg, "transformer", &some, SWAN_OPTIONAL, v, &n), SWAN_E_FORMAT,
            "transformer[0]: wanted a list of 1 to 8 integers from 0 to 1000, found \"diffusers\"");
    REFUSED(swan_config_ints(cfg, "layers", &some, SWAN_OPTIONAL, v, &n), SWAN_E_FORMAT,
            "layers: wanted a list of 1 to 8 integers from 0 to 1000, found 30");
    assert_int_equal(v[0], 9);
    assert_int_equal(swan_config_ints(cfg, "patch", &three, SWAN_REQUIRED, v, NULL), SWAN_OK);
    assert_true(v[0] == 1 && v[1] == 2 && v[2] == 2);
    assert_int_equal(swan_config_ints(cfg, "steps", &some, SWAN_REQUIRED, v, &n), SWAN_OK);
    assert_true(n == 3 && v[0] == 1000 && v[1] == 757 && v[2] == 522);
    REFUSED(swan_config_strings(cfg, "patch", 2, SWAN_OPTIONAL, s), SWAN_E_FORMAT,
            "patch: wanted a list of 2 strings, found a list of 3");
    REFUSED(swan_config_strings(cfg, "patch", 3, SWAN_OPTIONAL, s), SWAN_E_FORMAT,
            "patch: wanted a list of 3 strings, found 1");
    assert_string_equal(s[0], "x");
    assert_int_equal(swan_config_strings(cfg, "transformer", 2, SWAN_REQUIRED, s), SWAN_OK);
    assert_string_equal(s[0], "diffusers");
    assert_string_equal(s[1], "WanTransformer3DModel");
    assert_int_equal(swan_config_strings(cfg, "image_encoder", 2, SWAN_REQUIRED, s), SWAN_OK);
    assert_null(s[0]);
    assert_null(s[1]);
}

static void refuse(const char *path, swan_status want, const char *part)
{
    swan_config *cfg = (swan_config *)&want;
    assert_int_equal(swan_config_open(path, &cfg), want);
    assert_null(cfg);
    assert_non_null(strstr(swan_last_error(), path));
    if (!strstr(swan_last_error(), part)) fail_msg("wanted \"%s\", found \"%s\"", part, swan_last_error());
}

static void bad_files(void **state)
{
    const char *dir = *state;
    static char big[(4 << 20) + 1];
    static const struct {
        const char *text, *part;
    } bad[] = {
        {"", "not valid JSON"},
        {"{\"a\":1,}", "not valid JSON"},
        {"{\"a\":1}}", "not valid JSON"},
        {"[1]", "wanted a JSON object"},
        {"{\"a\":1,\"a\":2}", "duplicate"},
        {"{\"a\":1e999}", "not valid JSON"},
        {"{\"a\":NaN}", "not valid JSON"},
        {"{\"\xc3\x28\":1}", "not valid JSON"},
        {"{'a':1}", "not valid JSON"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuse(scratch_write(dir, "bad.json", bad[i].text, strlen(bad[i].text)), SWAN_E_FORMAT, bad[i].part);
    refuse(scratch_path(dir, "none.json"), SWAN_E_NOT_FOUND, "No such file");
    refuse(dir, SWAN_E_INVALID, "directory");
    memset(big, ' ', sizeof big);
    refuse(scratch_write(dir, "big.json", big, sizeof big), SWAN_E_FORMAT, "at most 4194304 bytes, found 4194305");
    memcpy(big, "{}", 2);
    swan_config *cfg;
    assert_int_equal(swan_config_open(scratch_write(dir, "fits.json", big, sizeof big - 1), &cfg), SWAN_OK);
    swan_config_close(cfg);
    swan_config_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(presence, open_text, close_text),
        cmocka_unit_test_setup_teardown(integers, open_text, close_text),
        cmocka_unit_test_setup_teardown(numbers, open_text, close_text),
        cmocka_unit_test_setup_teardown(booleans_and_strings, open_text, close_text),
        cmocka_unit_test_setup_teardown(lists, open_text, close_text),
        cmocka_unit_test_setup_teardown(bad_files, scratch_open, scratch_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
