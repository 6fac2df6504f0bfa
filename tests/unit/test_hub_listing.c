/* A hub's lists, what of them is taken, names of models, and the small texts of the HTTP side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cache.h"
#include "base/file.h"
#include "hub/http.h"
#include "hub/listing.h"
#include "hub/store.h"
#include "scratch.h"

static void paths(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "a/b", "a b", "..a", "a..", "...", "a/.b", "\xc3\xa4/x", "a\\b"};
    static const char *const bad[] = {"", "/", "/a", "a/", "a//b", ".", "..", "./a", "../a", "a/..", "a/../b", "a/.", "a\n", "\x7f", "\x1b[2J", "a/\x01"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(swan_listing_is_path(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(swan_listing_is_path(bad[i]));
    char longest[SWAN_LISTING_PATH + 1];
    memset(longest, 'x', sizeof longest);
    longest[SWAN_LISTING_PATH] = 0;
    assert_false(swan_listing_is_path(longest));
    longest[SWAN_LISTING_PATH - 1] = 0;
    assert_true(swan_listing_is_path(longest));
}

static void repositories(void **state)
{
    (void)state;
    static const char *const good[] = {"a/b", "FastVideo/FastWan2.1-T2V-1.3B-Diffusers", "0/1", "a-b_c/d.e"};
    static const char *const bad[] = {"", "a", "/", "a/", "/b", "a/b/c", "a/..", "../b", "./b", ".a/b", "a/.b", "-a/b", "a/-b", "a b/c", "a/b\n",
                                      "a/b..c", "a/b?x", "a/%2e", "\xc3\xa4/b"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(swan_cache_is_repository(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(swan_cache_is_repository(bad[i]));
    for (size_t i = 0; swan_cache_published(i); i++) {
        const swan_published *p = swan_cache_published(i);
        assert_true(swan_cache_is_repository(p->repository));
        assert_ptr_equal(swan_cache_find_published(p->alias), p);
        assert_ptr_equal(swan_cache_find_published(p->repository), p);
        assert_ptr_equal(swan_cache_find_published(swan_path_name(p->repository)), p);
    }
    assert_null(swan_cache_find_published("Diffusers"));
}

#define FILE_(path, size) "{\"type\":\"file\",\"path\":\"" path "\",\"size\":" size ",\"oid\":\"0123456789012345678901234567890123456789\"}"
#define SHA "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static swan_status add(swan_listing *l, const char *text) { return swan_listing_add(l, "hub", text, strlen(text)); }

static void hashes(void **state)
{
    (void)state;
    swan_listing l = {0};
    assert_int_equal(add(&l, "[" FILE_("a", "3") ",{\"type\":\"directory\",\"path\":\"..\"},"
                             "{\"type\":\"file\",\"path\":\"b\",\"size\":5,\"oid\":\"x\",\"lfs\":{\"oid\":\"" SHA "\",\"size\":5}},"
                             "{\"type\":\"file\",\"path\":\"c\",\"size\":5,\"lfs\":{\"oid\":\"sha256:" SHA "\"}},"
                             "{\"type\":\"file\",\"path\":\"d\",\"size\":5,\"oid\":\"0123456789012345678901234567890123456789\",\"lfs\":{\"oid\":\"A\"}},"
                             "{\"type\":\"file\",\"path\":\"e\",\"size\":0}]"), SWAN_OK);
    assert_int_equal(l.count, 5);
    assert_int_equal(l.total, 18);
    assert_int_equal(l.files[0].kind, SWAN_HASH_GIT_BLOB);
    assert_string_equal(l.files[0].hash, "0123456789012345678901234567890123456789");
    assert_int_equal(l.files[1].kind, SWAN_HASH_SHA256);
    assert_int_equal(l.files[2].kind, SWAN_HASH_SHA256);
    assert_string_equal(l.files[2].hash, SHA);
    /* a large file's oid is that of its pointer: with a damaged SHA-256 there is no hash, not a wrong one */
    assert_int_equal(l.files[3].kind, SWAN_HASH_NONE);
    assert_int_equal(l.files[4].kind, SWAN_HASH_NONE);
    swan_listing_free(&l);
}

static void refused(const char *text, const char *says)
{
    swan_listing l = {0};
    assert_int_equal(add(&l, text), SWAN_E_FORMAT);
    assert_non_null(strstr(swan_last_error(), says));
    swan_listing_free(&l);
}

static void refusals(void **state)
{
    (void)state;
    refused("", "wanted JSON");
    refused("<html>", "wanted JSON");
    refused("{}", "wanted a list");
    refused("[1]", "wanted a type");
    refused("[{\"type\":\"file\"}]", "(none)");
    refused("[" FILE_("../a", "1") "]", "\"../a\"");
    refused("[" FILE_("a\\u001b", "1") "]", "\"a?\"");
    refused("[" FILE_("a", "-1") "]", "a: size");
    refused("[" FILE_("a", "1099511627777") "]", "a: size");
    refused("[" FILE_("a", "1.0") "]", "a: size");
    refused("[" FILE_("a", "99999999999999999999") "]", "wanted JSON");
    refused("[" FILE_("a", "1099511627776") "," FILE_("b", "1099511627776") "," FILE_("c", "1099511627776") "," FILE_("d", "1099511627776")
            "," FILE_("e", "1") "]", "in all");
    char commit[SWAN_COMMIT_TEXT] = "";
    static const char *const bad[] = {"", "[]", "{}", "{\"sha\":7}", "{\"sha\":\"main\"}", "{\"sha\":\"0123456789abcdef0123456789abcdef0123456\"}",
                                      "{\"sha\":\"0123456789ABCDEF0123456789abcdef01234567\"}", "{\"sha\":\"../../../../0123456789abcdef01234567890a\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(swan_listing_commit("hub", bad[i], strlen(bad[i]), commit), SWAN_E_FORMAT);
    assert_string_equal(commit, "");
    const char *good = "{\"sha\":\"0123456789abcdef0123456789abcdef01234567\"}";
    assert_int_equal(swan_listing_commit("hub", good, strlen(good), commit), SWAN_OK);
    assert_string_equal(commit, "0123456789abcdef0123456789abcdef01234567");
}

#define PARTS FILE_("model_index.json", "1") "," FILE_("text_encoder/config.json", "1") "," FILE_("tokenizer/spiece.model", "1") "," \
              FILE_("text_encoder/model.safetensors", "10")

static void choice(void **state)
{
    (void)state;
    swan_listing l = {0};
    assert_int_equal(add(&l, "[" PARTS "," FILE_("transformer/diffusion_pytorch_model.safetensors", "100") ","
                             FILE_("transformer/diffusion_pytorch_model-00001-of-00001.safetensors", "100") ","
                             FILE_("transformer/diffusion_pytorch_model.safetensors.index.json", "2") ","
                             FILE_("transformer/diffusion_pytorch_model.fp16.safetensors", "50") ","
                             FILE_("transformer/diffusion_pytorch_model-0001-of-0001.safetensors", "50") ","
                             FILE_("transformer/diffusion_pytorch_model.bin", "100") "," FILE_("vae/config.json", "1") ","
                             FILE_("x/transformer/config.json", "1") "," FILE_("tokenizer/tokenizer.json", "1") "]"), SWAN_OK);
    assert_int_equal(swan_listing_choose(&l, "hub"), SWAN_OK);
    static const char *const wanted[] = {"model_index.json", "text_encoder/config.json", "text_encoder/model.safetensors", "tokenizer/spiece.model",
                                         "transformer/diffusion_pytorch_model-00001-of-00001.safetensors",
                                         "transformer/diffusion_pytorch_model.safetensors.index.json"};
    assert_int_equal(l.count, sizeof wanted / sizeof *wanted);
    for (size_t i = 0; i < l.count; i++) assert_string_equal(l.files[i].path, wanted[i]);
    assert_int_equal(l.total, 115);
    swan_listing_free(&l);
    assert_int_equal(add(&l, "[" PARTS "]"), SWAN_OK);
    assert_int_equal(swan_listing_choose(&l, "hub"), SWAN_E_NOT_FOUND);
    swan_listing_free(&l);
    assert_int_equal(add(&l, "[" PARTS "," FILE_("z", "1") "," FILE_("z", "1") "]"), SWAN_OK);
    assert_int_equal(swan_listing_choose(&l, "hub"), SWAN_E_FORMAT);
    swan_listing_free(&l);
    assert_int_equal(swan_listing_choose(&l, "hub"), SWAN_E_NOT_FOUND);
}

static void addresses(void **state)
{
    (void)state;
    char out[64];
    assert_int_equal(swan_http_escape("a b/\xc3\xa4?#%", true, out, sizeof out), SWAN_OK);
    assert_string_equal(out, "a%20b/%C3%A4%3F%23%25");
    assert_int_equal(swan_http_escape("refs/pr/1", false, out, sizeof out), SWAN_OK);
    assert_string_equal(out, "refs%2Fpr%2F1");
    assert_int_equal(swan_http_escape("0123456789", true, out, 8), SWAN_E_INVALID);
    static const char *const private_[] = {"https://a.b", "HTTPS://a", "http://127.0.0.1:80/x", "http://localhost", "http://[::1]:1/"};
    static const char *const open_[] = {"http://a.b", "http://localhost.a.b/", "http://127.0.0.1.a.b", "http://127.0.0.10/", "ftp://localhost", "http://a@localhost",
                                        "http://localhost@a.b/"};
    for (size_t i = 0; i < sizeof private_ / sizeof *private_; i++) assert_true(swan_http_is_private(private_[i]));
    for (size_t i = 0; i < sizeof open_ / sizeof *open_; i++) assert_false(swan_http_is_private(open_[i]));
}

static void manifests(void **state)
{
    swan_hub_file files[] = {{"a/b", 7, SWAN_HASH_SHA256, SHA}, {"c", 0, SWAN_HASH_GIT_BLOB, "0123456789012345678901234567890123456789"},
                             {"d", 9, SWAN_HASH_NONE, ""}};
    swan_manifest m = {"o/n", "0123456789abcdef0123456789abcdef01234567", {files, 3, 3, 16}}, back;
    assert_int_equal(swan_manifest_read(*state, &back), SWAN_E_NOT_FOUND);
    assert_int_equal(swan_manifest_write(*state, &m), SWAN_OK);
    assert_int_equal(swan_manifest_read(*state, &back), SWAN_OK);
    assert_string_equal(back.source, m.source);
    assert_string_equal(back.revision, m.revision);
    assert_int_equal(back.files.count, 3);
    assert_int_equal(back.files.total, 16);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(back.files.files[i].path, files[i].path);
        assert_string_equal(back.files.files[i].hash, files[i].hash);
        assert_int_equal(back.files.files[i].bytes, files[i].bytes);
        assert_int_equal(back.files.files[i].kind, files[i].kind);
    }
    swan_listing_free(&back.files);
    static const char *const bad[] = {"", "[]", "{\"source\":\"o/n\"}", "{\"source\":\"../n\",\"revision\":\"0123456789abcdef0123456789abcdef01234567\",\"files\":[]}",
        "{\"source\":\"o/n\",\"revision\":\"0123456789abcdef0123456789abcdef01234567\",\"files\":[{\"path\":\"../x\",\"size\":1}]}",
        "{\"source\":\"o/n\",\"revision\":\"0123456789abcdef0123456789abcdef01234567\",\"files\":[{\"path\":\"x\",\"size\":1,\"sha256\":\"zz\"}]}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_non_null(scratch_write(*state, "pull.json", bad[i], strlen(bad[i])));
        assert_int_equal(swan_manifest_read(*state, &back), SWAN_E_FORMAT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(paths), cmocka_unit_test(repositories), cmocka_unit_test(hashes),
                                       cmocka_unit_test(refusals), cmocka_unit_test(choice), cmocka_unit_test(addresses),
                                       cmocka_unit_test_setup_teardown(manifests, scratch_open, scratch_close)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
