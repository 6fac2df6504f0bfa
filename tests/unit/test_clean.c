/* Prompt cleaning against tests/data/tok/clean.json (made by tools/fixtures/tok.py with ftfy and Python's html). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "tok/clean.h"
#include "tok/unicode.h"

static void fixtures_are_equal(void **state)
{
    (void)state;
    json_error_t error;
    json_t *cases = json_load_file("tests/data/tok/clean.json", 0, &error), *one;
    size_t i, wrong = 0;
    assert_non_null(cases);
    assert_true(json_array_size(cases) >= 90);
    json_array_foreach(cases, i, one)
    {
        const json_t *input = json_object_get(one, "input");
        const char *expected = json_string_value(json_object_get(one, "expected"));
        char *got = NULL;
        assert_int_equal(swan_prompt_clean(json_string_value(input), json_string_length(input), &got), SWAN_OK);
        if (strcmp(got, expected)) {
            print_error("case %zu: \"%s\"\n  wanted \"%s\"\n  found  \"%s\"\n", i, json_string_value(input), expected,
                        got);
            wrong++;
        }
        free(got);
    }
    json_decref(cases);
    assert_int_equal(wrong, 0);
}

static void refuses(const char *bytes, size_t n, const char *words)
{
    char *out = (char *)bytes;
    assert_int_equal(swan_prompt_clean(bytes, n, &out), SWAN_E_INVALID);
    assert_null(out);
    if (!strstr(swan_last_error(), words)) fail_msg("wanted \"%s\" in \"%s\"", words, swan_last_error());
}

static void invalid_utf8_is_refused(void **state)
{
    (void)state;
    refuses("abc\xFF", 4, "byte 3 (0xFF)");
    refuses("\x80", 1, "byte 0 (0x80)");  /* continuation alone */
    refuses("a\xC3", 2, "byte 1 (0xC3)"); /* cut off */
    refuses("a\xE4\xBD", 3, "byte 1");
    refuses("a\xC0\xAF", 3, "byte 1"); /* overlong */
    refuses("a\xC1\xBF", 3, "byte 1");
    refuses("\xE0\x9F\xBF", 3, "byte 0");
    refuses("\xF0\x8F\xBF\xBF", 4, "byte 0");
    refuses("x\xED\xA0\x80", 4, "byte 1 (0xED)"); /* surrogate */
    refuses("x\xED\xBF\xBF", 4, "byte 1");
    refuses("xy\xF4\x90\x80\x80", 6, "byte 2"); /* above U+10FFFF */
    refuses("\xF5\x80\x80\x80", 4, "byte 0");
    refuses("ab\0cd", 5, "NUL at byte 2");
    refuses("", 1, "NUL at byte 0");
}

static void edges_of_utf8_are_taken(void **state)
{
    (void)state;
    const char text[] =
        "\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF";
    assert_int_equal(swan_utf8_valid(text, sizeof text - 1), sizeof text - 1);
    swan_runes runes = {0};
    char *back = NULL;
    assert_int_equal(swan_runes_decode(&runes, text, sizeof text - 1), SWAN_OK);
    const uint32_t wanted[] = {0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF};
    assert_int_equal(runes.count, sizeof wanted / sizeof wanted[0]);
    assert_memory_equal(runes.at, wanted, sizeof wanted);
    assert_int_equal(swan_runes_encode(&runes, &back), SWAN_OK);
    assert_string_equal(back, text);
    free(back);
    swan_runes_free(&runes);
}

static void length_is_limited(void **state)
{
    (void)state;
    size_t n = SWAN_PROMPT_MAX_BYTES + 1;
    char *text = malloc(n), *out = NULL;
    assert_non_null(text);
    memset(text, 'a', n);
    refuses(text, n, "at most 32768");
    assert_int_equal(swan_prompt_clean(text, n - 1, &out), SWAN_OK);
    assert_int_equal(strlen(out), n - 1);
    free(out);
    assert_int_equal(swan_prompt_clean(NULL, 0, &out), SWAN_OK);
    assert_string_equal(out, "");
    free(out);
    free(text);
}

/* NFC of NFC is itself, and canonically equal spellings end the same, for every character that decomposes. */
static void composition_is_stable(void **state)
{
    (void)state;
    swan_runes in = {0}, once = {0}, twice = {0}, parts = {0};
    size_t composed = 0;
    for (size_t i = 0; i < swan_unicode_decompositions_count; i++) {
        const swan_unicode_pair *pair = &swan_unicode_decompositions[i];
        in.count = parts.count = 0;
        assert_int_equal(swan_runes_push(&in, pair->whole), SWAN_OK);
        assert_int_equal(swan_runes_push(&parts, pair->a), SWAN_OK);
        if (pair->b) assert_int_equal(swan_runes_push(&parts, pair->b), SWAN_OK);
        assert_int_equal(swan_unicode_nfc(&in, &once), SWAN_OK);
        assert_int_equal(swan_unicode_nfc(&parts, &twice), SWAN_OK);
        assert_int_equal(once.count, twice.count);
        assert_memory_equal(once.at, twice.at, once.count * sizeof *once.at);
        assert_int_equal(swan_unicode_nfc(&once, &twice), SWAN_OK);
        assert_int_equal(once.count, twice.count);
        assert_memory_equal(once.at, twice.at, once.count * sizeof *once.at);
        composed += once.count == 1 && once.at[0] == pair->whole;
    }
    assert_int_equal(composed, swan_unicode_composites_count);
    for (swan_runes *const *r = (swan_runes *const[]){&in, &once, &twice, &parts, NULL}; *r; r++) swan_runes_free(*r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixtures_are_equal),      cmocka_unit_test(invalid_utf8_is_refused),
        cmocka_unit_test(edges_of_utf8_are_taken), cmocka_unit_test(length_is_limited),
        cmocka_unit_test(composition_is_stable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
