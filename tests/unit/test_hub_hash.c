/* SHA-1 and SHA-256 against the examples of FIPS 180-4's validation files (NIST), and git's names of blobs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hub/hash.h"

static void check(swan_hash_kind kind, const char *text, size_t repeat, const char *wanted)
{
    swan_hash h;
    char found[SWAN_HASH_TEXT];
    size_t n = strlen(text);
    swan_hash_start(&h, kind, n * repeat);
    for (size_t i = 0; i < repeat; i++) swan_hash_add(&h, text, n);
    swan_hash_end(&h, found);
    assert_string_equal(found, wanted);
}

static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
static const char four_lines[] = "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";

static void sha256_examples(void **state)
{
    (void)state;
    check(SWAN_HASH_SHA256, "", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check(SWAN_HASH_SHA256, "abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check(SWAN_HASH_SHA256, two_blocks, 1, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    check(SWAN_HASH_SHA256, four_lines, 1, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
    check(SWAN_HASH_SHA256, "a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void sha1_examples(void **state)
{
    (void)state;
    check(SWAN_HASH_SHA1, "", 1, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    check(SWAN_HASH_SHA1, "abc", 1, "a9993e364706816aba3e25717850c26c9cd0d89d");
    check(SWAN_HASH_SHA1, two_blocks, 1, "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    check(SWAN_HASH_SHA1, four_lines, 1, "a49b2446a02c645bf419f995b67091253a04a259");
    check(SWAN_HASH_SHA1, "a", 1000000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

static void git_blobs(void **state)
{
    (void)state;
    /* git hash-object of an empty file, and of "test content\n" */
    check(SWAN_HASH_GIT_BLOB, "", 1, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    check(SWAN_HASH_GIT_BLOB, "test content\n", 1, "d670460b4b4aece5915caf5c68d12f560a9fe3e4");
    check(SWAN_HASH_NONE, "anything", 3, "");
}

/* However the bytes are cut, and for every length around the padding's borders, the hash is the same. */
static void pieces(void **state)
{
    (void)state;
    static const swan_hash_kind kinds[] = {SWAN_HASH_SHA256, SWAN_HASH_SHA1, SWAN_HASH_GIT_BLOB};
    uint8_t data[300];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 37 + 11);
    for (size_t k = 0; k < 3; k++)
        for (size_t n = 0; n <= sizeof data; n++) {
            char whole[SWAN_HASH_TEXT], found[SWAN_HASH_TEXT];
            swan_hash h;
            swan_hash_start(&h, kinds[k], n);
            swan_hash_add(&h, data, n);
            swan_hash_end(&h, whole);
            for (size_t step = 1; step < 130; step += 9) {
                swan_hash_start(&h, kinds[k], n);
                for (size_t at = 0; at < n; at += step) swan_hash_add(&h, data + at, n - at < step ? n - at : step);
                swan_hash_end(&h, found);
                assert_string_equal(found, whole);
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sha256_examples), cmocka_unit_test(sha1_examples), cmocka_unit_test(git_blobs),
                                       cmocka_unit_test(pieces)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
