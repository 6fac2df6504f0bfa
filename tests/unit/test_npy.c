/* .npy: round trips, what NumPy itself writes, hostile headers, full disks. */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "ckpt/npy.h"
#include "scratch.h"

/* A file with this version and dictionary, then bytes 0, 1, 2, … as data. */
static const char *make(const char *dir, int version, const char *dict, size_t data_bytes)
{
    uint8_t file[1024];
    size_t length = strlen(dict), at = version == 1 ? 10 : 12;
    memcpy(file, "\x93NUMPY", 6);
    file[6] = (uint8_t)version;
    file[7] = 0;
    for (size_t i = 8; i < at; i++) file[i] = (uint8_t)(length >> 8 * (i - 8));
    memcpy(file + at, dict, length);
    for (size_t i = 0; i < data_bytes; i++) file[at + length + i] = (uint8_t)i;
    const char *path = scratch_write(dir, "a.npy", file, at + length + data_bytes);
    assert_non_null(path);
    return path;
}

static void round_trips(void **state)
{
    static const swan_dtype types[] = {SWAN_F32, SWAN_F16, SWAN_F64, SWAN_I32, SWAN_I64, SWAN_U8};
    const char *path = scratch_path(*state, "a.npy");
    uint8_t data[2 * 3 * 1 * 2 * 2 * 8];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 37 + 1);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        for (int ndim = 0; ndim <= SWAN_MAX_DIMS; ndim++) {
            swan_tensor t = {.data = data, .dtype = types[i], .ndim = ndim, .ne = {2, 3, 1, 2, 2}}, back;
            char *file;
            size_t bytes;
            assert_int_equal(swan_npy_write(path, &t), SWAN_OK);
            assert_int_equal(swan_npy_load(path, &back), SWAN_OK);
            assert_int_equal(back.dtype, t.dtype);
            assert_true(swan_tensor_same_shape(&back, &t));
            assert_memory_equal(back.data, data, swan_tensor_bytes(&t));
            free(back.data);
            assert_int_equal(swan_file_read(path, 4096, &file, &bytes), SWAN_OK);
            assert_int_equal((bytes - swan_tensor_bytes(&t)) % 64, 0);
            free(file);
        }
    swan_tensor bf16 = {.data = data, .dtype = SWAN_BF16, .ndim = 1, .ne = {1}};
    assert_int_equal(swan_npy_write(path, &bf16), SWAN_E_UNSUPPORTED);
    assert_non_null(strstr(swan_last_error(), "BF16"));
}

/* Byte for byte what np.save writes. */
static void header_is_numpys(void **state)
{
    static const struct {
        int ndim;
        const char *dict;
    } want[] = {
        {0, "{'descr': '<i4', 'fortran_order': False, 'shape': (), }"},
        {1, "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }"},
        {2, "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }"},
    };
    const char *path = scratch_path(*state, "a.npy");
    int32_t data[6] = {1, 2, 3, 4, 5, 6};
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        swan_tensor t = {.data = data, .dtype = SWAN_I32, .ndim = want[i].ndim, .ne = {2, 3}};
        char *file;
        size_t bytes;
        assert_int_equal(swan_npy_write(path, &t), SWAN_OK);
        assert_int_equal(swan_file_read(path, 4096, &file, &bytes), SWAN_OK);
        assert_int_equal(bytes, 128 + swan_tensor_bytes(&t));
        assert_memory_equal(file, "\x93NUMPY\x01\x00\x76\x00", 10);
        assert_memory_equal(file + 10, want[i].dict, strlen(want[i].dict));
        for (size_t at = 10 + strlen(want[i].dict); at < 127; at++) assert_int_equal(file[at], ' ');
        assert_int_equal(file[127], '\n');
        free(file);
    }
}

static void empty_array(void **state)
{
    const char *path = scratch_path(*state, "a.npy");
    swan_tensor t = {.dtype = SWAN_F32, .ndim = 2, .ne = {0, 5}}, back;
    assert_int_equal(swan_npy_write(path, &t), SWAN_OK);
    assert_int_equal(swan_npy_load(path, &back), SWAN_OK);
    assert_non_null(back.data);
    assert_int_equal(swan_tensor_count(&back), 0);
    free(back.data);
}

static void reads_as_f32(void **state)
{
    const char *path = scratch_path(*state, "a.npy");
    const int64_t shape[] = {3, 1000};
    static double f64[3000];
    static uint16_t f16[3000];
    static float dst[3000];
    for (int i = 0; i < 3000; i++) f64[i] = (i - 1500) / 3.0;
    for (int i = 0; i < 3000; i++) f16[i] = (uint16_t)i; /* subnormals and small normals: code * 2^-24 up to 1,024 */
    swan_tensor t = {.data = f64, .dtype = SWAN_F64, .ndim = 2, .ne = {3, 1000}};
    assert_int_equal(swan_npy_write(path, &t), SWAN_OK);
    assert_int_equal(swan_npy_read_f32(path, shape, 2, dst), SWAN_OK);
    for (int i = 0; i < 3000; i++) assert_true(dst[i] == (float)f64[i]);
    t.data = f16;
    t.dtype = SWAN_F16;
    assert_int_equal(swan_npy_write(path, &t), SWAN_OK);
    assert_int_equal(swan_npy_read_f32(path, shape, 2, dst), SWAN_OK);
    for (int i = 0; i <= 1024; i++) assert_true(dst[i] == ldexpf((float)i, -24));
    t.data = dst;
    t.dtype = SWAN_F32;
    assert_int_equal(swan_npy_write(path, &t), SWAN_OK);
    memset(f64, 0, sizeof f64);
    assert_int_equal(swan_npy_read_f32(path, shape, 2, (float *)f64), SWAN_OK);
    assert_memory_equal(f64, dst, sizeof dst);

    const int64_t other[] = {1000, 3};
    assert_int_equal(swan_npy_read_f32(path, other, 2, dst), SWAN_E_INVALID);
    assert_non_null(strstr(swan_last_error(), "wanted the shape [1000, 3], found [3, 1000]"));
    assert_int_equal(swan_npy_read_f32(path, shape, 1, dst), SWAN_E_INVALID);
    t.dtype = SWAN_I32;
    assert_int_equal(swan_npy_write(path, &t), SWAN_OK);
    assert_int_equal(swan_npy_read_f32(path, shape, 2, dst), SWAN_E_INVALID);
    assert_non_null(strstr(swan_last_error(), "found I32"));
}

#define DICT(descr, order, shape) "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape ", }"

static void spellings(void **state)
{
    static const struct {
        int version;
        const char *dict;
    } good[] = {
        {1, DICT("'<f4'", "False", "(2, 3)") "     \n"},
        {2, DICT("'<f4'", "False", "(2, 3)") "\n"},
        {3, DICT("'<f4'", "False", "(2, 3)") "\n"},
        {1, "{\"shape\":(2,3,),\"descr\":\"<f4\",\"fortran_order\":False}"},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        swan_tensor t;
        assert_int_equal(swan_npy_load(make(*state, good[i].version, good[i].dict, 24), &t), SWAN_OK);
        assert_true(t.dtype == SWAN_F32 && t.ndim == 2 && t.ne[0] == 2 && t.ne[1] == 3);
        assert_memory_equal(t.data, "\0\1\2\3\4\5\6\7", 8);
        free(t.data);
    }
    swan_tensor t; /* one axis has one order */
    assert_int_equal(swan_npy_load(make(*state, 1, DICT("'<f4'", "True", "(2,)"), 8), &t), SWAN_OK);
    free(t.data);
}

static void refuse(const char *path, swan_status want, const char *part)
{
    swan_tensor t = {.data = &t};
    swan_status got = swan_npy_load(path, &t);
    if (got != want || !strstr(swan_last_error(), part) || !strstr(swan_last_error(), path))
        fail_msg("wanted %s with \"%s\", found %s: %s", swan_status_name(want), part, swan_status_name(got),
                 got == SWAN_OK ? "" : swan_last_error());
    assert_null(t.data);
}

static void hostile_headers(void **state)
{
    const char *dir = *state;
    static const struct {
        const char *dict;
        swan_status status;
        const char *part;
    } bad[] = {
        {"", SWAN_E_FORMAT, "header"},
        {"{", SWAN_E_FORMAT, "header"},
        {"{}", SWAN_E_FORMAT, "wanted descr"},
        {"{'descr': '<f4', 'shape': (1,)}", SWAN_E_FORMAT, "wanted descr"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", SWAN_E_FORMAT, "wanted descr"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", SWAN_E_FORMAT, "wanted descr"},
        {DICT("'<f4'", "False", "(1,)") "x", SWAN_E_FORMAT, "wanted descr"},
        {DICT("'<f4", "False", "(1,)"), SWAN_E_FORMAT, "wanted descr"},
        {DICT("'\\x3cf4'", "False", "(1,)"), SWAN_E_UNSUPPORTED, "structured"},
        {DICT("[('a', '<f4')]", "False", "(1,)"), SWAN_E_UNSUPPORTED, "structured"},
        {DICT("'>f4'", "False", "(1,)"), SWAN_E_UNSUPPORTED, "found '>f4'"},
        {DICT("'|O'", "False", "(1,)"), SWAN_E_UNSUPPORTED, "found '|O'"},
        {DICT("'<f4'", "True", "(1, 1)"), SWAN_E_UNSUPPORTED, "Fortran"},
        {DICT("'<f4'", "0", "(1,)"), SWAN_E_FORMAT, "wanted descr"},
        {DICT("'<f4'", "False", "(1)"), SWAN_E_FORMAT, "wanted descr"},
        {DICT("'<f4'", "False", "1"), SWAN_E_FORMAT, "wanted descr"},
        {DICT("'<f4'", "False", "(-1,)"), SWAN_E_FORMAT, "wanted descr"},
        {DICT("'<f4'", "False", "(1.0,)"), SWAN_E_FORMAT, "wanted descr"},
        {DICT("'<f4'", "False", "(,)"), SWAN_E_FORMAT, "wanted descr"},
        {DICT("'<f4'", "False", "(1,1,1,1,1,1)"), SWAN_E_FORMAT, "at most 5 axes"},
        {DICT("'<f4'", "False", "(99999999999999999999999,)"), SWAN_E_FORMAT, "wanted descr"},
        {DICT("'<f4'", "False", "(4294967296, 4294967296)"), SWAN_E_FORMAT, "wanted descr"},
        {DICT("'<f4'", "False", "(1000000000000,)"), SWAN_E_FORMAT, "wanted 4000000000000 bytes of data"},
        {DICT("'<f4'", "False", "(2,)"), SWAN_E_FORMAT, "wanted 8 bytes of data for F32 [2], found 4"},
        {DICT("'<f4'", "False", "(0,)"), SWAN_E_FORMAT, "wanted 0 bytes of data for F32 [0], found 4"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuse(make(dir, 1 + (int)(i & 1), bad[i].dict, 4), bad[i].status, bad[i].part);
    refuse(make(dir, 4, DICT("'<f4'", "False", "(1,)"), 4), SWAN_E_UNSUPPORTED, "version");
    refuse(make(dir, 0, DICT("'<f4'", "False", "(1,)"), 4), SWAN_E_UNSUPPORTED, "version");
    refuse(scratch_write(dir, "b.npy", "\x93NUMPX\1\0\0\0{}", 12), SWAN_E_FORMAT, "something else");
    refuse(scratch_write(dir, "c.npy", "\x93NUMPY\1\0\377\377{}", 12), SWAN_E_FORMAT, "header of 65535 bytes");
    refuse(scratch_write(dir, "d.npy", "\x93NUMPY\2\0\377\377\377\377{}", 14), SWAN_E_FORMAT, "4294967295 bytes");
    refuse(scratch_write(dir, "e.npy", "", 0), SWAN_E_FORMAT, "0 bytes");
    refuse(scratch_path(dir, "none.npy"), SWAN_E_NOT_FOUND, "No such file");
    refuse(dir, SWAN_E_INVALID, "directory");
}

static void every_truncation(void **state)
{
    const char dict[] = DICT("'<f4'", "False", "(2,)");
    for (int version = 1; version <= 2; version++) {
        size_t whole = (version == 1 ? 10 : 12) + sizeof dict - 1 + 8;
        swan_tensor t;
        const char *path = make(*state, version, dict, 8);
        for (size_t bytes = whole; bytes-- > 0;) {
            assert_int_equal(truncate(path, (off_t)bytes), 0);
            assert_int_equal(swan_npy_load(path, &t), SWAN_E_FORMAT);
        }
    }
}

static void full_disk(void **state)
{
    const char *dir = *state;
    const char *path = scratch_write(dir, "a.npy", "before", 6);
    static float data[1 << 16];
    struct rlimit before, small;
    swan_tensor t = swan_tensor_1d(data, SWAN_F32, 1 << 16);
    uint64_t bytes;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    for (rlim_t limit = 0; limit <= 131072; limit += 65536) {
        small = before;
        small.rlim_cur = limit;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        swan_status status = swan_npy_write(path, &t);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(status, SWAN_E_IO);
        assert_non_null(strstr(swan_last_error(), path));
        assert_int_equal(scratch_count(dir), 1);
        assert_int_equal(swan_file_size(path, &bytes), SWAN_OK);
        assert_int_equal(bytes, 6);
    }
    assert_int_equal(swan_npy_write(scratch_path(dir, "no/a.npy"), &t), SWAN_E_NOT_FOUND);
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_open, scratch_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(round_trips), IN_SCRATCH(header_is_numpys), IN_SCRATCH(empty_array),      IN_SCRATCH(reads_as_f32),
        IN_SCRATCH(spellings),   IN_SCRATCH(hostile_headers),  IN_SCRATCH(every_truncation), IN_SCRATCH(full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
