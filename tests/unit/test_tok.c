/* Tokenising against tests/data/tok/ids.json (made by tools/fixtures/tok.py with SentencePiece, Hugging Face's
 * tokenizers and Transformers), and damaged model files: each must give an error that says what is wrong, or a
 * tokenizer that works. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "tok/spiece_check.h"
#include "tok/tokenizer.h"

#define MODEL "tests/data/tok/spiece.model"
#define UNK_MODEL "tests/data/tok/unk.model"
enum { MAX_IDS = 1024 };

/* ---- ids --------------------------------------------------------------------------------------------------------- */

static swan_tokenizer *opened(const char *path)
{
    swan_tokenizer *t = NULL;
    if (swan_tokenizer_open(path, &t) != SWAN_OK) fail_msg("%s", swan_last_error());
    return t;
}

static bool same_ids(const swan_tokenizer *t, const json_t *one)
{
    const char *text = json_string_value(json_object_get(one, "text"));
    const json_t *wanted = json_object_get(one, "ids");
    int32_t ids[MAX_IDS];
    int count = 0;
    bool same =
        swan_tokenizer_encode(t, text, ids, MAX_IDS, &count) == SWAN_OK && (size_t)count == json_array_size(wanted);
    for (int i = 0; same && i < count; i++) same = ids[i] == json_integer_value(json_array_get(wanted, (size_t)i));
    if (same) return true;
    print_error("\"%s\": wanted %zu ids, found %d:", text, json_array_size(wanted), count);
    for (int i = 0; i < count && i < 40; i++) print_error(" %d", ids[i]);
    print_error("\n");
    return false;
}

static void ids_equal_the_reference(void **state)
{
    (void)state;
    json_t *all = json_load_file("tests/data/tok/ids.json", 0, NULL), *cases, *one;
    const char *name;
    size_t i, wrong = 0, total = 0;
    assert_non_null(all);
    json_object_foreach(all, name, cases)
    {
        char path[256];
        snprintf(path, sizeof path, "tests/data/tok/%s", name);
        swan_tokenizer *t = opened(path);
        assert_int_equal(swan_tokenizer_set_extra_ids(t, 300), SWAN_OK);
        json_array_foreach(cases, i, one) wrong += !same_ids(t, one);
        total += json_array_size(cases);
        swan_tokenizer_close(t);
    }
    json_decref(all);
    assert_int_equal(wrong, 0);
    assert_true(total >= 70);
}

static void long_text_keeps_its_end(void **state)
{
    (void)state;
    swan_tokenizer *t = opened(MODEL);
    char text[4000] = "";
    for (int i = 0; i < 160; i++) strcat(text, "red fox ");
    int32_t all[MAX_IDS], cut[MAX_IDS];
    int count = 0, fewer = 0;
    assert_int_equal(swan_tokenizer_encode(t, text, all, MAX_IDS, &count), SWAN_OK);
    assert_true(count > 600 && count < MAX_IDS);
    const int limits[] = {1, 2, 511, 512, count - 1, count, count + 1};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        int wanted = limits[i] < count ? limits[i] : count;
        memset(cut, 0xEE, sizeof cut);
        assert_int_equal(swan_tokenizer_encode(t, text, cut, limits[i], &fewer), SWAN_OK);
        assert_int_equal(fewer, wanted);
        assert_memory_equal(cut, all, sizeof *cut * (size_t)(wanted - 1));
        assert_int_equal(cut[wanted - 1], 1);
        assert_int_equal(cut[wanted], (int32_t)0xEEEEEEEE);
    }
    swan_tokenizer_close(t);
}

static void arguments_are_checked(void **state)
{
    (void)state;
    swan_tokenizer *t = opened(MODEL);
    int32_t ids[8];
    int count = 7, pieces = swan_tokenizer_vocab(t);
    assert_int_equal(swan_tokenizer_eos(t), 1);
    assert_int_equal(swan_tokenizer_encode(t, "x", ids, 0, &count), SWAN_E_INVALID);
    assert_int_equal(count, 0);
    assert_int_equal(swan_tokenizer_encode(t, "ab\xC3", ids, 8, &count), SWAN_E_INVALID);
    assert_non_null(strstr(swan_last_error(), "byte 2"));
    assert_int_equal(swan_tokenizer_set_extra_ids(t, -1), SWAN_E_INVALID);
    assert_int_equal(swan_tokenizer_set_extra_ids(t, 1001), SWAN_E_INVALID);
    assert_int_equal(swan_tokenizer_encode(t, "<extra_id_0>", ids, 8, &count), SWAN_OK);
    assert_true(count > 2); /* plain text without extra ids */
    assert_int_equal(swan_tokenizer_set_extra_ids(t, 5), SWAN_OK);
    assert_int_equal(swan_tokenizer_vocab(t), pieces + 5);
    assert_int_equal(swan_tokenizer_encode(t, "<extra_id_0><extra_id_4>", ids, 8, &count), SWAN_OK);
    assert_int_equal(count, 3);
    assert_int_equal(ids[0], pieces + 4);
    assert_int_equal(ids[1], pieces);
    swan_tokenizer_close(t);
    swan_tokenizer_close(NULL);
}

/* ---- model files by hand ----------------------------------------------------------------------------------------- */

typedef struct bytes {
    unsigned char at[65536];
    size_t size;
} bytes;

static void put(bytes *b, const void *data, size_t size)
{
    assert_true(b->size + size <= sizeof b->at);
    memcpy(b->at + b->size, data, size);
    b->size += size;
}

static void put_varint(bytes *b, uint64_t value)
{
    for (; value > 127; value >>= 7) put(b, &(unsigned char){(unsigned char)(value | 128)}, 1);
    put(b, &(unsigned char){(unsigned char)value}, 1);
}

static void put_number(bytes *b, unsigned number, uint64_t value)
{
    put_varint(b, number << 3);
    put_varint(b, value);
}

static void put_bytes(bytes *b, unsigned number, const void *data, size_t size)
{
    put_varint(b, number << 3 | 2);
    put_varint(b, size);
    put(b, data, size);
}

static void put_piece_n(bytes *b, const char *text, size_t size, float score, unsigned type)
{
    bytes piece = {.size = 0};
    put_bytes(&piece, 1, text, size);
    put_varint(&piece, 2 << 3 | 5);
    put(&piece, &score, 4);
    put_number(&piece, 3, type);
    put_bytes(b, 1, piece.at, piece.size);
}

static void put_piece(bytes *b, const char *text, float score, unsigned type)
{
    put_piece_n(b, text, strlen(text), score, type);
}

/* The smallest model that works: what the faults below are added to. */
static void start(bytes *b)
{
    b->size = 0;
    put_piece(b, "<unk>", 0, 2);
    put_piece(b, "</s>", 0, 3);
    put_piece(b, "\xE2\x96\x81", -1, 1);
    put_piece(b, "a", -2, 1);
}

static void expect(const bytes *b, swan_status status, const char *words)
{
    swan_tokenizer *t = NULL;
    swan_status got = swan_tokenizer_load(b->at, b->size, "m.model", &t);
    if (got == SWAN_OK) swan_tokenizer_close(t);
    if (got != status ||
        (got != SWAN_OK && (!strstr(swan_last_error(), words) || !strstr(swan_last_error(), "m.model"))))
        fail_msg("wanted %s with \"%s\", found %s: %s", swan_status_name(status), words, swan_status_name(got),
                 swan_last_error());
}

static void pieces_are_checked(void **state)
{
    (void)state;
    static bytes b;
    start(&b), expect(&b, SWAN_OK, "");
    start(&b), put_piece(&b, "a", -3, 1), expect(&b, SWAN_E_FORMAT, "found 4 equal to 3");
    start(&b), put_piece(&b, "", -3, 1), expect(&b, SWAN_E_FORMAT, "piece 4: wanted a text");
    start(&b), put_piece(&b, "x\xC3", -3, 1), expect(&b, SWAN_E_FORMAT, "found 0xC3");
    start(&b), put_piece_n(&b, "x\0y", 3, -3, 1), expect(&b, SWAN_E_FORMAT, "found 0x00");
    start(&b), put_piece(&b, "b", NAN, 1), expect(&b, SWAN_E_FORMAT, "finite score");
    start(&b), put_piece(&b, "b", -INFINITY, 1), expect(&b, SWAN_E_FORMAT, "finite score");
    start(&b), put_piece(&b, "b", 0, 0), expect(&b, SWAN_E_FORMAT, "type of 1 to 6, found 0");
    start(&b), put_piece(&b, "b", 0, 7), expect(&b, SWAN_E_FORMAT, "type of 1 to 6, found 7");
    start(&b), put_piece(&b, "<u>", 0, 2), expect(&b, SWAN_E_FORMAT, "one piece of type unknown, found 2");
    start(&b), put_piece(&b, "<0x41>", 0, 6), expect(&b, SWAN_E_FORMAT, "byte fallback is off");
    start(&b), put_piece(&b, "<0xZZ>", 0, 6), expect(&b, SWAN_E_FORMAT, "byte piece like");
    char text[1026];
    memset(text, 'q', sizeof text);
    start(&b), put_piece_n(&b, text, 1024, -3, 1), expect(&b, SWAN_OK, "");
    start(&b), put_piece_n(&b, text, 1025, -3, 1), expect(&b, SWAN_E_FORMAT, "at most 1024 bytes");
    b.size = 0, expect(&b, SWAN_E_FORMAT, "empty");
    b.size = 0, put_bytes(&b, 2, "", 0), expect(&b, SWAN_E_FORMAT, "wanted pieces");
    b.size = 0, put_piece(&b, "</s>", 0, 3), expect(&b, SWAN_E_FORMAT, "type unknown, found 0");
    b.size = 0, put_piece(&b, "<unk>", 0, 2), expect(&b, SWAN_E_FORMAT, "control piece </s>");
    b.size = 0, put_piece(&b, "<unk>", 0, 2), put_piece(&b, "</s>", 0, 3),
    expect(&b, SWAN_E_FORMAT, "SentencePiece refuses");
}

static void byte_pieces_are_complete(void **state)
{
    (void)state;
    static bytes b;
    for (int missing = 0; missing < 2; missing++) {
        bytes spec = {.size = 0};
        put_number(&spec, 35, 1);
        start(&b);
        put_bytes(&b, 2, spec.at, spec.size);
        for (unsigned i = 0; i < 256u - (unsigned)missing; i++) {
            char text[8];
            snprintf(text, sizeof text, "<0x%02X>", i);
            put_piece(&b, text, 0, 6);
        }
        expect(&b, missing ? SWAN_E_FORMAT : SWAN_OK, "wanted 256 byte pieces, found 255");
    }
}

static void structure_is_checked(void **state)
{
    (void)state;
    static bytes b;
    bytes spec = {.size = 0};
    start(&b), put(&b, "\x0B", 1), expect(&b, SWAN_E_FORMAT, "wire type 0, 1, 2 or 5, found 3");
    start(&b), put(&b, "\x02", 1), expect(&b, SWAN_E_FORMAT, "found tag 2");
    start(&b), put(&b, "\x0A\x05\x41", 3), expect(&b, SWAN_E_FORMAT, "field of 5 bytes, found 1");
    start(&b), put(&b, "\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11),
        expect(&b, SWAN_E_FORMAT, "field of 18446744073709551615");
    start(&b), put(&b, "\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02", 11),
        expect(&b, SWAN_E_FORMAT, "number of 64 bits");
    start(&b), put(&b, "\x0A\x80", 2), expect(&b, SWAN_E_FORMAT, "end of its message");
    start(&b), put_number(&b, 1, 5), expect(&b, SWAN_E_FORMAT, "pieces: wanted wire type 2, found 0");
    start(&b), put_bytes(&b, 2, "", 0), put_bytes(&b, 2, "", 0), expect(&b, SWAN_E_FORMAT, "one trainer_spec");
    start(&b), put_bytes(&b, 200, "abc", 3), put_number(&b, 201, 9), expect(&b, SWAN_OK, "");
    start(&b), put_number(&spec, 3, 2), put_bytes(&b, 2, spec.at, spec.size),
        expect(&b, SWAN_E_UNSUPPORTED, "unigram, found 2");
    spec.size = 0, put_number(&spec, 42, 4);
    start(&b), put_bytes(&b, 2, spec.at, spec.size),
        expect(&b, SWAN_E_FORMAT, "trainer_spec.eos_id: wanted -1 to 3, found 4");
    spec.size = 0, put_number(&spec, 40, UINT64_MAX);
    start(&b), put_bytes(&b, 2, spec.at, spec.size), expect(&b, SWAN_OK, "");
    spec.size = 0, put_number(&spec, 40, UINT64_MAX - 1);
    start(&b), put_bytes(&b, 2, spec.at, spec.size), expect(&b, SWAN_E_FORMAT, "unk_id: wanted -1 to 3, found -2");
    spec.size = 0, put_bytes(&spec, 47, "<end>", 5);
    start(&b), put_bytes(&b, 2, spec.at, spec.size), expect(&b, SWAN_E_FORMAT, "trainer_spec.eos_piece names");
    spec.size = 0, put_bytes(&spec, 1, "\x0A\x02x\xFF", 4);
    start(&b), put_bytes(&b, 4, spec.at, spec.size), expect(&b, SWAN_E_FORMAT, "self test");
    spec.size = 0, put_bytes(&spec, 1, "\x0A\x01\x61\x12\x01\x62", 6); /* "a" is to give "b" */
    start(&b), put_bytes(&b, 4, spec.at, spec.size), expect(&b, SWAN_E_FORMAT, "SentencePiece refuses");
}

/* ---- normaliser maps by hand ------------------------------------------------------------------------------------- */

enum { UNITS = 512, BASE = 256 };
typedef struct map {
    uint32_t unit[UNITS];
} map;

static uint32_t unit(uint32_t label, bool value, uint32_t offset)
{
    return label | (uint32_t)value << 8 | offset << 10;
}

/* One rule, "a" to the replacement at `value`: root's children at 256, those of 'a' in the same block. */
static void one_rule(map *m, uint32_t value)
{
    for (uint32_t i = 0; i < UNITS; i++) m->unit[i] = 0x80000000u; /* matches no label */
    uint32_t a = BASE ^ 'a';
    m->unit[0] = unit(0, false, BASE);
    m->unit[a] = unit('a', true, a ^ (BASE + 1)); /* its base is 257, away from root's children */
    m->unit[BASE + 1] = 0x80000000u | value;
}

static void expect_map(const map *m, uint32_t trie_bytes, const char *values, size_t values_size, const char *words)
{
    static bytes b;
    bytes blob = {.size = 0}, spec = {.size = 0};
    put(&blob, &trie_bytes, 4);
    put(&blob, m->unit, sizeof m->unit);
    put(&blob, values, values_size);
    put_bytes(&spec, 2, blob.at, blob.size);
    start(&b);
    put_bytes(&b, 3, spec.at, spec.size);
    expect(&b, words ? SWAN_E_FORMAT : SWAN_OK, words);
    b.size = 0, start(&b), put_bytes(&b, 5, spec.at, spec.size); /* the denormaliser's is loaded as well */
    expect(&b, words ? SWAN_E_FORMAT : SWAN_OK, words);
}

static void normaliser_maps_are_checked(void **state)
{
    (void)state;
    static map m;
    const uint32_t all = sizeof m.unit;
    const char values[] = "b\0\xC3\xA9"; /* NUL behind it */
    one_rule(&m, 0), expect_map(&m, all, values, sizeof values, NULL);
    one_rule(&m, 2), expect_map(&m, all, values, sizeof values, NULL);
    one_rule(&m, 3), expect_map(&m, all, values, sizeof values, "starts a character, found offset 3");
    one_rule(&m, 5), expect_map(&m, all, values, sizeof values, "inside 5 bytes, found offset 5");
    one_rule(&m, 0), expect_map(&m, all, values, sizeof values - 1, "NUL behind the last");
    one_rule(&m, 0), expect_map(&m, all, "b\0\xC3", 4, "UTF-8 in the normaliser's replacements");
    one_rule(&m, 0), expect_map(&m, all + 1, values, sizeof values, "4 n bytes");
    one_rule(&m, 0), expect_map(&m, all + 8, values, sizeof values, "4 n bytes");
    one_rule(&m, 0), expect_map(&m, 0, values, sizeof values, "4 n bytes");
    one_rule(&m, 0), expect_map(&m, UINT32_MAX - 3, values, sizeof values, "4 n bytes");
    one_rule(&m, 0), expect_map(&m, 1024, values, sizeof values, "UTF-8"); /* half of the trie taken for replacements */
    one_rule(&m, 0), m.unit[0] = unit(0, false, UNITS);
    expect_map(&m, all, values, sizeof values, "unit 0: wanted children inside");
    one_rule(&m, 0), m.unit[BASE ^ 'a'] = unit('a', false, 1u << 20);
    expect_map(&m, all, values, sizeof values, "children inside");
    one_rule(&m, 0), memset(m.unit + 500, 0, 12 * sizeof *m.unit); /* the array ends inside the block of the children */
    expect_map(&m, 4 * 500, values, sizeof values, "unit 0: wanted children inside 500 units");
    /* 'a' leads back to the block it stands in: "aa", "aaa" and so on without end */
    one_rule(&m, 0), m.unit[BASE ^ 'a'] = unit('a', false, 'a');
    expect_map(&m, all, values, sizeof values, "a way back");
}

/* Rules "a", "aa", "aaa", …: the library keeps 32 matches and would read beyond them. */
static void long_chains_of_rules_are_refused(void **state)
{
    (void)state;
    static map m;
    for (uint32_t rules = 31; rules <= 33; rules++) {
        for (uint32_t i = 0; i < UNITS; i++) m.unit[i] = 0x80000000u;
        /* the k-th 'a' stands at base_k ^ 'a', with base_k = 256 + 2 k; its value at base_(k+1) */
        m.unit[0] = unit(0, false, BASE);
        for (uint32_t k = 0; k < rules; k++) {
            uint32_t index = (BASE + 2 * k) ^ 'a', next = BASE + 2 * (k + 1);
            assert_int_equal(m.unit[index], 0x80000000u);
            m.unit[index] = unit('a', true, index ^ next);
            m.unit[next] = 0x80000000u;
        }
        expect_map(&m, sizeof m.unit, "b", 2, rules > 32 ? "prefixes of each other" : NULL);
    }
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void files_are_checked(void **state)
{
    (void)state;
    swan_tokenizer *t = NULL;
    assert_int_equal(swan_tokenizer_open("tests/data/tok/missing.model", &t), SWAN_E_NOT_FOUND);
    assert_non_null(strstr(swan_last_error(), "missing.model"));
    assert_int_equal(swan_tokenizer_open("tests/data/tok", &t), SWAN_E_IO);
    assert_int_equal(swan_tokenizer_open("tests/data/tok/ids.json", &t), SWAN_E_FORMAT);
    assert_int_equal(swan_tokenizer_open("/dev/null", &t), SWAN_E_FORMAT);
    char path[] = "/tmp/swan_test_tok_XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(ftruncate(file, (off_t)SWAN_SPIECE_MAX_BYTES + 1), 0);
    assert_int_equal(swan_tokenizer_open(path, &t), SWAN_E_FORMAT);
    assert_non_null(strstr(swan_last_error(), "at most 67108864 bytes"));
    close(file);
    unlink(path);
    assert_null(t);
}

static unsigned char *read_all(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    unsigned char *data = malloc(*size);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *size, file), *size);
    fclose(file);
    return data;
}

/* Loads a damaged model; what loads must encode. Returns whether it loaded. */
static bool try_model(const unsigned char *data, size_t size)
{
    static const char *const texts[] = {"A red fox walks.",
                                        "\xEF\xBC\xA1\xEF\xBC\xA2 \xEF\xAC\x81lm \xE2\x91\xA0 e\xCC\x81 \xEA\xB0\x80",
                                        "\xF0\x9F\xA6\x8A </s> \xE9\x9B\xAA <pad>", " \xC2\xA0 "};
    /* an exact copy, so that the address sanitizer sees the first byte beyond it */
    unsigned char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    swan_tokenizer *t = NULL;
    swan_status status = swan_tokenizer_load(copy, size, "damaged.model", &t);
    free(copy);
    if (status != SWAN_OK) {
        assert_true(status == SWAN_E_FORMAT || status == SWAN_E_UNSUPPORTED);
        assert_non_null(strstr(swan_last_error(), "damaged.model"));
        return false;
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        int32_t ids[64];
        int count = 0;
        assert_int_equal(swan_tokenizer_encode(t, texts[i], ids, 64, &count), SWAN_OK);
        assert_true(count >= 1 && count <= 64 && ids[count - 1] == swan_tokenizer_eos(t));
        for (int k = 0; k < count; k++) assert_in_range(ids[k], 0, swan_tokenizer_vocab(t) - 1);
    }
    swan_tokenizer_close(t);
    return true;
}

static uint64_t random_state;
static size_t below(size_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(random_state >> 33) % n;
}

static void truncated_models_do_not_crash(void **state)
{
    (void)state;
    const char *const paths[] = {MODEL, UNK_MODEL};
    for (int i = 0; i < 2; i++) {
        size_t size, refused = 0, tried = 0;
        unsigned char *data = read_all(paths[i], &size);
        for (size_t n = 0; n < size; n += i ? 1 : n < 16384 ? 61 : 997, tried++) refused += !try_model(data, n);
        free(data);
        assert_true(tried > 400 && refused > tried / 2);
    }
}

/* Half of the changes hit single bits, the others are runs of random, zero or 0xFF bytes. */
static void mutated_models_do_not_crash(void **state)
{
    (void)state;
    const char *const paths[] = {MODEL, UNK_MODEL};
    const int rounds[] = {1500, 3000};
    random_state = 20240607;
    for (int i = 0; i < 2; i++) {
        size_t size, loaded = 0;
        unsigned char *data = read_all(paths[i], &size), *changed = malloc(size);
        assert_non_null(changed);
        for (int round = 0; round < rounds[i]; round++) {
            memcpy(changed, data, size);
            for (size_t k = 1 + below(3); k; k--) {
                size_t at = below(size), run = 1 + below(8), kind = below(6);
                if (kind < 3) changed[at] = (unsigned char)(changed[at] ^ 1u << below(8));
                for (; kind >= 3 && run && at < size; run--)
                    changed[at++] = (unsigned char)(kind == 3 ? below(256) : kind == 4 ? 0 : 255);
            }
            loaded += try_model(changed, size);
        }
        free(changed);
        free(data);
        assert_true(loaded > 0 && loaded < (size_t)rounds[i]);
        print_message("%s: %zu of %d damaged models load and work\n", paths[i], loaded, rounds[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_equal_the_reference),     cmocka_unit_test(long_text_keeps_its_end),
        cmocka_unit_test(arguments_are_checked),       cmocka_unit_test(pieces_are_checked),
        cmocka_unit_test(byte_pieces_are_complete),    cmocka_unit_test(structure_is_checked),
        cmocka_unit_test(normaliser_maps_are_checked), cmocka_unit_test(long_chains_of_rules_are_refused),
        cmocka_unit_test(files_are_checked),           cmocka_unit_test(truncated_models_do_not_crash),
        cmocka_unit_test(mutated_models_do_not_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
