/* Checkpoints: what a good one gives, and one clear message for every way in which a file or a set can be bad. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/half.h"
#include "ckpt/safetensors.h"
#include "scratch.h"

/* A safetensors file: the header as it is given (not padded), then bytes 0, 1, 2, … as data. */
static const char *make(const char *dir, const char *name, const char *header, size_t data_bytes)
{
    static uint8_t file[1 << 16];
    uint64_t length = strlen(header);
    assert_true(8 + length + data_bytes <= sizeof file);
    memcpy(file, &length, 8);
    memcpy(file + 8, header, length);
    for (size_t i = 0; i < data_bytes; i++) file[8 + length + i] = (uint8_t)i;
    const char *path = scratch_write(dir, name, file, 8 + length + data_bytes);
    assert_non_null(path);
    return path;
}

/* Opening fails with this status, *out is NULL and the message has this in it, and the place. */
static void refuse(const char *path, const char *stem, swan_status want, const char *text)
{
    swan_ckpt *c = (swan_ckpt *)&want;
    swan_status got = swan_ckpt_open(path, stem, &c);
    if (got != want || !strstr(swan_last_error(), text) || !strstr(swan_last_error(), path))
        fail_msg("%s: wanted %s with \"%s\", found %s: %s", path, swan_status_name(want), text, swan_status_name(got),
                 got == SWAN_OK ? "" : swan_last_error());
    assert_null(c);
}

static swan_ckpt *open_ok(const char *path, const char *stem)
{
    swan_ckpt *c = NULL;
    if (swan_ckpt_open(path, stem, &c) != SWAN_OK) fail_msg("%s", swan_last_error());
    assert_non_null(c);
    return c;
}

/* ---- good files ----------------------------------------------------------------------------------------------------- */

static void views(void **state)
{
    /* out of order in the header, 5 axes, a scalar, an empty tensor, padding after the object */
    const char *path = make(*state, "m.safetensors",
                            "{\"__metadata__\":{\"format\":\"pt\"},"
                            "\"b\":{\"dtype\":\"BF16\",\"shape\":[1,2,1,1,2],\"data_offsets\":[4,12]},"
                            "\"none\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[12,12]},"
                            "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}      ",
                            12);
    swan_ckpt *c = open_ok(path, NULL);
    assert_int_equal(swan_ckpt_count(c), 3);
    const swan_tensor *a = swan_ckpt_at(c, 0), *b = swan_ckpt_at(c, 1), *none = swan_ckpt_find(c, "none");
    assert_null(swan_ckpt_at(c, 3));
    assert_string_equal(a->name, "a");
    assert_int_equal(a->ndim, 0);
    assert_int_equal(a->dtype, SWAN_F32);
    assert_memory_equal(a->data, "\0\1\2\3", 4);
    assert_ptr_equal(swan_ckpt_find(c, "b"), b);
    assert_int_equal(b->ndim, 5);
    assert_int_equal(b->ne[1], 2);
    assert_int_equal(b->ne[4], 2);
    assert_memory_equal(b->data, "\4\5\6\7\10\11\12\13", 8);
    assert_int_equal(swan_tensor_count(none), 0);
    assert_null(swan_ckpt_find(c, "c"));
    assert_null(swan_ckpt_find(c, "__metadata__"));
    assert_string_equal(swan_ckpt_metadata(c, "format"), "pt");
    assert_null(swan_ckpt_metadata(c, "other"));
    assert_string_equal(swan_ckpt_file(c, b), path);
    assert_string_equal(swan_ckpt_path(c), path);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(swan_ckpt_mapped_bytes(c), info.st_size);
    swan_ckpt_close(c);
    swan_ckpt_close(NULL);
}

static void no_tensors(void **state)
{
    swan_ckpt *c = open_ok(make(*state, "m.safetensors", "{}", 0), NULL);
    assert_int_equal(swan_ckpt_count(c), 0);
    assert_null(swan_ckpt_find(c, "a"));
    swan_ckpt_close(c);
}

static void unaligned_data_is_copied(void **state)
{
    /* with the lengths 0..7 of padding the data begins at every remainder of 8 */
    for (int pad = 0; pad < 8; pad++) {
        char header[512], name[32];
        snprintf(header, sizeof header,
                 "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                 "\"e\":{\"dtype\":\"F64\",\"shape\":[0],\"data_offsets\":[1,1]},"
                 "\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[1,9]},"
                 "\"h\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[9,11]},"
                 "\"d\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[11,19]}}%*s",
                 pad, "");
        snprintf(name, sizeof name, "m%d.safetensors", pad);
        swan_ckpt *c = open_ok(make(*state, name, header, 19), NULL);
        for (size_t i = 0; i < swan_ckpt_count(c); i++) {
            const swan_tensor *t = swan_ckpt_at(c, i);
            assert_int_equal((uintptr_t)t->data % swan_dtype_bytes(t->dtype), 0);
        }
        assert_memory_equal(swan_ckpt_find(c, "w")->data, "\1\2\3\4\5\6\7\10", 8);
        assert_memory_equal(swan_ckpt_find(c, "h")->data, "\11\12", 2);
        assert_memory_equal(swan_ckpt_find(c, "d")->data, "\13\14\15\16\17\20\21\22", 8);
        assert_true(swan_ckpt_copied_bytes(c) > 0);
        swan_ckpt_close(c);
    }
}

static void unsupported_types_wait_until_asked_for(void **state)
{
    const char *path = make(*state, "m.safetensors",
                            "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                            "\"f8\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,2],\"data_offsets\":[4,8]},"
                            "\"new\":{\"dtype\":\"Q9_K\\u001b[2J\",\"shape\":[3],\"data_offsets\":[8,9]},"
                            "\"six\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1],\"data_offsets\":[9,10]}}",
                            10);
    swan_ckpt *c = open_ok(path, NULL);
    const swan_tensor *t = NULL;
    const char *why = NULL;
    assert_int_equal(swan_ckpt_count(c), 1);
    assert_null(swan_ckpt_find(c, "f8"));
    assert_int_equal(swan_ckpt_need(c, "a", &t), SWAN_OK);
    assert_string_equal(t->name, "a");
    assert_int_equal(swan_ckpt_need(c, "f8", &t), SWAN_E_UNSUPPORTED);
    assert_non_null(strstr(swan_last_error(), "F8_E4M3"));
    assert_non_null(strstr(swan_last_error(), path));
    assert_int_equal(swan_ckpt_need(c, "six", &t), SWAN_E_UNSUPPORTED);
    assert_non_null(strstr(swan_last_error(), "6 axes"));
    assert_int_equal(swan_ckpt_need(c, "no.such\n", &t), SWAN_E_NOT_FOUND);
    assert_non_null(strstr(swan_last_error(), "no.such?"));
    assert_string_equal(swan_ckpt_unsupported_at(c, 0, NULL), "f8");
    assert_string_equal(swan_ckpt_unsupported_at(c, 1, &why), "new");
    assert_string_equal(why, "dtype Q9_K?[2J"); /* nothing that a terminal would obey */
    assert_string_equal(swan_ckpt_unsupported_at(c, 2, &why), "six");
    assert_null(swan_ckpt_unsupported_at(c, 3, NULL));
    swan_ckpt_close(c);
}

static void reads_as_f32(void **state)
{
    (void)state;
    float dst[3];
    float f32[] = {1.5f, -0.0f, INFINITY};
    uint16_t f16[] = {0x3C01, 0x0001, 0xFC00}; /* 1 + 2^-10, 2^-24, -inf */
    uint16_t bf16[] = {0x3F81, 0x0001, 0x8000}; /* 1 + 2^-7, 2^-133, -0 */
    double f64[] = {0.1, -1e300, 1.0};
    int32_t i32[] = {1, 2, 3};
    swan_tensor t = swan_tensor_1d(f32, SWAN_F32, 3);
    assert_int_equal(swan_ckpt_read_f32(&t, dst), SWAN_OK);
    assert_memory_equal(dst, f32, sizeof f32);
    t = swan_tensor_1d(f16, SWAN_F16, 3);
    assert_int_equal(swan_ckpt_read_f32(&t, dst), SWAN_OK);
    assert_true(dst[0] == 1.0009765625f && dst[1] == ldexpf(1, -24) && dst[2] == -INFINITY);
    t = swan_tensor_1d(bf16, SWAN_BF16, 3);
    assert_int_equal(swan_ckpt_read_f32(&t, dst), SWAN_OK);
    assert_true(dst[0] == 1.0078125f && dst[1] == ldexpf(1, -133) && dst[2] == 0 && signbit(dst[2]));
    t = swan_tensor_1d(f64, SWAN_F64, 3);
    assert_int_equal(swan_ckpt_read_f32(&t, dst), SWAN_OK);
    assert_true(dst[0] == 0.1f && dst[1] == -INFINITY && dst[2] == 1.0f);
    t = swan_tensor_1d(i32, SWAN_I32, 3);
    t.name = "counts";
    assert_int_equal(swan_ckpt_read_f32(&t, dst), SWAN_E_UNSUPPORTED);
    assert_string_equal(swan_last_error(), "counts: wanted F32, BF16, F16 or F64, found I32");
}

/* ---- bad files ------------------------------------------------------------------------------------------------------ */

static void bad_places(void **state)
{
    const char *dir = *state;
    refuse(scratch_path(dir, "none.safetensors"), NULL, SWAN_E_NOT_FOUND, "No such file");
    refuse(scratch_path(dir, "none.safetensors.index.json"), NULL, SWAN_E_NOT_FOUND, "No such file");
    refuse("/dev/zero", NULL, SWAN_E_INVALID, "device");
    refuse(scratch_write(dir, "empty.safetensors", "", 0), NULL, SWAN_E_FORMAT, "empty");
    if (geteuid() != 0) { /* root reads everything */
        const char *secret = make(dir, "secret.safetensors", "{}", 0);
        assert_int_equal(chmod(secret, 0), 0);
        refuse(secret, NULL, SWAN_E_IO, "ermission");
    }
}

static void bad_lengths(void **state)
{
    const char *dir = *state;
    refuse(scratch_write(dir, "a", "\1\0\0", 3), NULL, SWAN_E_FORMAT, "found 3 bytes in all");
    refuse(scratch_write(dir, "b", "\2\0\0\0\0\0\0\0{", 9), NULL, SWAN_E_FORMAT,
           "truncated: wanted a header of 2 bytes, found 1");
    refuse(scratch_write(dir, "c", "\377\377\377\377\377\377\377\377{}", 10), NULL, SWAN_E_FORMAT,
           "18446744073709551615");
    refuse(scratch_write(dir, "d", "\1\341\365\5\0\0\0\0{}", 10), NULL, SWAN_E_FORMAT, "100000001");
    refuse(scratch_write(dir, "e", "\0\0\0\0\0\0\0\0", 8), NULL, SWAN_E_FORMAT, "JSON");
}

static void other_kinds(void **state)
{
    const char *dir = *state;
    refuse(scratch_write(dir, "a.pth", "PK\003\004........", 12), NULL, SWAN_E_FORMAT, "PyTorch");
    refuse(scratch_write(dir, "b", "GGUF\3\0\0\0\0\0\0\0", 12), NULL, SWAN_E_FORMAT, "GGUF");
    const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:0\n";
    refuse(scratch_write(dir, "c", pointer, sizeof pointer - 1), NULL, SWAN_E_FORMAT, "Git LFS pointer");
    refuse(scratch_write(dir, "d", "<!DOCTYPE html>", 15), NULL, SWAN_E_FORMAT, "web page");
}

#define T(name, dtype, shape, from, to)                                                                                \
    "\"" name "\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":[" #from "," #to "]}"
#define F32 "\"F32\""

static const struct {
    const char *header;
    size_t data_bytes;
    const char *text;
} bad_headers[] = {
    {"{\"a\":", 0, "not valid JSON"},
    {"{} x", 0, "not valid JSON"},
    {"[]", 0, "wanted a JSON object"},
    {"{\"a\xff\":1}", 0, "not valid JSON"},
    {"{" T("a", F32, "[1]", 0, 4) "," T("a", F32, "[1]", 4, 8) "}", 8, "duplicate"},
    {"{\"a\":1}", 0, "a: wanted an object"},
    {"{\"a\":{}}", 0, "a: dtype: wanted a string"},
    {"{" T("a", "7", "[1]", 0, 4) "}", 4, "a: dtype: wanted a string"},
    {"{" T("a", F32, "4", 0, 4) "}", 4, "a: shape: wanted an array"},
    {"{" T("a", F32, "[-1]", 0, 4) "}", 4, "a: shape: axis 0"},
    {"{" T("a", F32, "[1.0]", 0, 4) "}", 4, "a: shape: axis 0"},
    {"{" T("a", F32, "[1,\"1\"]", 0, 4) "}", 4, "a: shape: axis 1"},
    {"{" T("a", F32, "[4294967296,4294967296]", 0, 4) "}", 4, "a: shape: too many elements"},
    {"{" T("a", F32, "[9223372036854775807]", 0, 4) "}", 4, "a: shape: too many elements"},
    {"{" T("a", F32, "[4611686018427387905]", 0, 4) "}", 4, "a: shape: too many elements"},
    {"{" T("a", F32, "[99999999999999999999]", 0, 4) "}", 4, "not valid JSON"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "a: data_offsets: wanted two"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "a: data_offsets: wanted two"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "a: data_offsets: wanted two"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4.0]}}", 4, "a: data_offsets: wanted two"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":{\"0\":0}}}", 4, "a: data_offsets: wanted two"},
    {"{" T("a", F32, "[1]", -4, 0) "}", 4, "a: data_offsets [-4, 0]"},
    {"{" T("a", F32, "[1]", 4, 0) "}", 4, "a: data_offsets [4, 0]"},
    {"{" T("a", F32, "[2]", 0, 8) "}", 7, "not inside the file's 7 bytes"},
    {"{" T("a", F32, "[1]", 0, 9223372036854775807) "}", 4, "not inside the file's 4 bytes"},
    {"{" T("a", F32, "[2]", 0, 4) "}", 4, "a: wanted 8 bytes for its shape and F32, found 4"},
    {"{" T("a", "\"BOOL\"", "[2]", 0, 4) "}", 4, "a: wanted 2 bytes for its shape and BOOL, found 4"},
    {"{" T("a", "\"F4\"", "[3]", 0, 1) "}", 1, "a: wanted 2 bytes"},
    {"{" T("a", F32, "[1]", 0, 4) "," T("b", F32, "[1]", 2, 6) "}", 6, "a and b overlap: bytes 2 to 4"},
    {"{" T("b", F32, "[1]", 0, 4) "," T("a", F32, "[1]", 0, 4) "}", 4, "a and b overlap: bytes 0 to 4"},
    {"{" T("a", F32, "[1]", 0, 4) "," T("b", F32, "[1]", 8, 12) "}", 12, "b: bytes 4 to 8 before it"},
    {"{" T("a", F32, "[1]", 4, 8) "}", 8, "a: bytes 0 to 4 before it"},
    {"{" T("a", F32, "[1]", 0, 4) "}", 6, "wanted 4 bytes of data for its tensors, found 6"},
    {"{\"__metadata__\":[]}", 0, "__metadata__: wanted an object"},
    {"{\"__metadata__\":{\"format\":1}}", 0, "__metadata__ \"format\": wanted a string"},
};

static void bad_header(void **state)
{
    char name[32];
    for (size_t i = 0; i < sizeof bad_headers / sizeof bad_headers[0]; i++) {
        snprintf(name, sizeof name, "bad%zu", i);
        refuse(make(*state, name, bad_headers[i].header, bad_headers[i].data_bytes), NULL, SWAN_E_FORMAT,
               bad_headers[i].text);
    }
}

static void deep_nesting(void **state)
{
    char header[20001];
    memset(header, '[', sizeof header - 1);
    memcpy(header, "{\"a\":", 5);
    header[sizeof header - 1] = 0;
    refuse(make(*state, "deep", header, 0), NULL, SWAN_E_FORMAT, "maximum parsing depth");
}

/* Every truncation of a good file is refused: nothing after the cut is trusted. */
static void every_truncation(void **state)
{
    const char header[] = "{" T("a", F32, "[2]", 0, 8) "}";
    const size_t whole = 8 + sizeof header - 1 + 8;
    swan_ckpt *c;
    const char *path = make(*state, "m", header, 8);
    swan_ckpt_close(open_ok(path, NULL));
    for (size_t bytes = whole; bytes-- > 0;) {
        assert_int_equal(truncate(path, (off_t)bytes), 0);
        assert_int_equal(swan_ckpt_open(path, NULL, &c), SWAN_E_FORMAT);
    }
}

/* ---- directories and indices ---------------------------------------------------------------------------------------- */

#define ONE(name) "{" T(name, F32, "[1]", 0, 4) "}"

static void directory_with_a_file(void **state)
{
    const char *dir = *state;
    make(dir, "model.safetensors", ONE("a"), 4);
    scratch_write(dir, "config.json", "{}", 2);
    swan_ckpt_close(open_ok(dir, NULL));
    swan_ckpt_close(open_ok(dir, "model"));
    refuse(dir, "other", SWAN_E_NOT_FOUND,
           "wanted other.safetensors, its index or its shards, found model.safetensors");
    make(dir, "model.fp16.safetensors", ONE("a"), 4);
    swan_ckpt_close(open_ok(dir, "model"));
    refuse(dir, NULL, SWAN_E_INVALID, "found model.fp16.safetensors and model.safetensors: name one");
    scratch_write(dir, "model.safetensors.index.json", "{}", 2);
    refuse(dir, "model", SWAN_E_INVALID, "found model.safetensors and model.safetensors.index.json: name one");
}

static void directory_without(void **state)
{
    refuse(*state, NULL, SWAN_E_NOT_FOUND, "found no safetensors file");
    refuse(*state, "model", SWAN_E_NOT_FOUND, "wanted model.safetensors");
}

static void sharded(void **state)
{
    const char *dir = *state;
    const char index[] = "{\"metadata\":{\"total_size\":8},\"weight_map\":{\"b\":\"m-00002-of-00002.safetensors\","
                         "\"a\":\"m-00001-of-00002.safetensors\"}}";
    const char *first = make(dir, "m-00001-of-00002.safetensors", ONE("a"), 4);
    const char *second = make(dir, "m-00002-of-00002.safetensors", ONE("b"), 4);
    const char *path = scratch_write(dir, "m.safetensors.index.json", index, sizeof index - 1);
    const char *places[] = {dir, dir, path};
    const char *stems[] = {NULL, "m", NULL};
    for (int i = 0; i < 3; i++) {
        swan_ckpt *c = open_ok(places[i], stems[i]);
        assert_string_equal(swan_ckpt_path(c), path);
        assert_int_equal(swan_ckpt_count(c), 2);
        assert_string_equal(swan_ckpt_at(c, 0)->name, "a");
        assert_string_equal(swan_ckpt_file(c, swan_ckpt_find(c, "a")), first);
        swan_tensor copy = *swan_ckpt_find(c, "b");
        assert_string_equal(swan_ckpt_file(c, &copy), second);
        assert_int_equal(swan_ckpt_mapped_bytes(c), 2 * (8 + 4 + strlen(ONE("a"))));
        swan_ckpt_close(c);
    }
}

static void sharded_without_index(void **state)
{
    const char *dir = *state;
    make(dir, "m-00001-of-00003.safetensors", ONE("a"), 4);
    make(dir, "m-00003-of-00003.safetensors", ONE("c"), 4);
    refuse(dir, NULL, SWAN_E_NOT_FOUND, "shard 2 of 3 is missing");
    make(dir, "m-00002-of-00003.safetensors", ONE("b"), 4);
    swan_ckpt *c = open_ok(dir, "m");
    assert_int_equal(swan_ckpt_count(c), 3);
    assert_string_equal(swan_ckpt_at(c, 2)->name, "c");
    assert_string_equal(swan_ckpt_path(c), dir);
    swan_ckpt_close(c);
    make(dir, "m-00001-of-00002.safetensors", ONE("a"), 4);
    refuse(dir, NULL, SWAN_E_INVALID, "which checkpoint?");
    unlink(scratch_path(dir, "m-00001-of-00002.safetensors"));
    unlink(scratch_path(dir, "m-00003-of-00003.safetensors"));
    refuse(dir, "m", SWAN_E_NOT_FOUND, "shard 3 of 3 is missing");
}

static const struct {
    const char *index;
    swan_status status;
    const char *text;
} bad_indices[] = {
    {"{", SWAN_E_FORMAT, "not valid JSON"},
    {"[]", SWAN_E_FORMAT, "wanted a JSON object"},
    {"{}", SWAN_E_FORMAT, "weight_map"},
    {"{\"weight_map\":[]}", SWAN_E_FORMAT, "weight_map"},
    {"{\"weight_map\":{}}", SWAN_E_FORMAT, "weight_map is empty"},
    {"{\"weight_map\":{\"a\":1}}", SWAN_E_FORMAT, "a: wanted a file name"},
    {"{\"weight_map\":{\"a\":\"../one.safetensors\"}}", SWAN_E_FORMAT, "found \"../one.safetensors\""},
    {"{\"weight_map\":{\"a\":\"/etc/one.safetensors\"}}", SWAN_E_FORMAT, "beside the index"},
    {"{\"weight_map\":{\"a\":\"sub/one.safetensors\"}}", SWAN_E_FORMAT, "beside the index"},
    {"{\"weight_map\":{\"a\":\"..\"}}", SWAN_E_FORMAT, "beside the index"},
    {"{\"weight_map\":{\"a\":\"\"}}", SWAN_E_FORMAT, "beside the index"},
    {"{\"weight_map\":{\"a\":\"one.bin\"}}", SWAN_E_FORMAT, "beside the index"},
    {"{\"weight_map\":{\"a\":\"gone.safetensors\"}}", SWAN_E_NOT_FOUND,
     "names the shard gone.safetensors, which is missing"},
    {"{\"weight_map\":{\"z\":\"one.safetensors\"}}", SWAN_E_FORMAT, "says that z is in one.safetensors"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"one.safetensors\",\"c\":\"two.safetensors\"}}", SWAN_E_FORMAT,
     "says that b is in one.safetensors"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"x\":\"twin.safetensors\"}}", SWAN_E_FORMAT,
     "a is in one.safetensors and in twin.safetensors"},
};

static void bad_index(void **state)
{
    const char *dir = *state;
    make(dir, "one.safetensors", ONE("a"), 4);
    make(dir, "two.safetensors", "{" T("b", F32, "[1]", 0, 4) "," T("c", F32, "[1]", 4, 8) "}", 8);
    make(dir, "twin.safetensors", "{" T("a", F32, "[1]", 0, 4) "," T("x", F32, "[1]", 4, 8) "}", 8);
    for (size_t i = 0; i < sizeof bad_indices / sizeof bad_indices[0]; i++) {
        const char *text = bad_indices[i].index;
        const char *path = scratch_write(dir, "m.safetensors.index.json", text, strlen(text));
        refuse(path, NULL, bad_indices[i].status, bad_indices[i].text);
    }
}

static void bad_shard_is_named(void **state)
{
    const char *dir = *state;
    const char index[] = "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}";
    const char *path = scratch_write(dir, "m.safetensors.index.json", index, sizeof index - 1);
    make(dir, "one.safetensors", ONE("a"), 4);
    const char *two = make(dir, "two.safetensors", ONE("b"), 3);
    swan_ckpt *c;
    assert_int_equal(swan_ckpt_open(path, NULL, &c), SWAN_E_FORMAT);
    assert_non_null(strstr(swan_last_error(), two));
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_open, scratch_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(views),
        IN_SCRATCH(no_tensors),
        IN_SCRATCH(unaligned_data_is_copied),
        IN_SCRATCH(unsupported_types_wait_until_asked_for),
        cmocka_unit_test(reads_as_f32),
        IN_SCRATCH(bad_places),
        IN_SCRATCH(bad_lengths),
        IN_SCRATCH(other_kinds),
        IN_SCRATCH(bad_header),
        IN_SCRATCH(deep_nesting),
        IN_SCRATCH(every_truncation),
        IN_SCRATCH(directory_with_a_file),
        IN_SCRATCH(directory_without),
        IN_SCRATCH(sharded),
        IN_SCRATCH(sharded_without_index),
        IN_SCRATCH(bad_index),
        IN_SCRATCH(bad_shard_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
