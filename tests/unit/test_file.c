/* Files: queries, whole-or-nothing output, full disks (a file size limit stands in for one), hostile targets. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "scratch.h"

static void paths(void **state)
{
    (void)state;
    char buf[16];
    assert_int_equal(swan_path_join("a/b", "c", buf, sizeof buf), SWAN_OK);
    assert_string_equal(buf, "a/b/c");
    assert_int_equal(swan_path_join("a/", "c", buf, sizeof buf), SWAN_OK);
    assert_string_equal(buf, "a/c");
    assert_int_equal(swan_path_join("", "c", buf, sizeof buf), SWAN_OK);
    assert_string_equal(buf, "c");
    assert_int_equal(swan_path_join("0123456789", "01234", buf, sizeof buf), SWAN_E_INVALID);
    assert_int_equal(swan_path_directory("/x", buf, sizeof buf), SWAN_OK);
    assert_string_equal(buf, "/");
    assert_int_equal(swan_path_directory("x", buf, sizeof buf), SWAN_OK);
    assert_string_equal(buf, ".");
    assert_int_equal(swan_path_directory("a/b/x", buf, sizeof buf), SWAN_OK);
    assert_string_equal(buf, "a/b");
    assert_string_equal(swan_path_name("a/b"), "b");
    assert_string_equal(swan_path_name("b"), "b");
}

static void queries(void **state)
{
    const char *dir = *state;
    const char *file = scratch_write(dir, "five", "12345", 5);
    uint64_t bytes = 0;
    char *data = NULL;
    size_t got = 0;
    assert_true(swan_file_exists(file));
    assert_false(swan_file_is_directory(file));
    assert_true(swan_file_is_directory(dir));
    assert_int_equal(swan_file_size(file, &bytes), SWAN_OK);
    assert_int_equal(bytes, 5);
    assert_int_equal(swan_file_size(dir, &bytes), SWAN_E_INVALID);
    assert_int_equal(swan_file_size("/dev/null", &bytes), SWAN_E_INVALID);
    assert_int_equal(swan_file_size(scratch_path(dir, "none"), &bytes), SWAN_E_NOT_FOUND);
    assert_non_null(strstr(swan_last_error(), "none"));
    assert_int_equal(swan_file_read(file, 5, &data, &got), SWAN_OK);
    assert_int_equal(got, 5);
    assert_string_equal(data, "12345");
    free(data);
    assert_int_equal(swan_file_read(file, 4, &data, &got), SWAN_E_FORMAT);
    assert_non_null(strstr(swan_last_error(), "at most 4 bytes, found 5"));
}

static void named_pipe_does_not_block(void **state)
{
    const char *pipe_path = scratch_path(*state, "pipe");
    int fd;
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    alarm(10);
    assert_int_equal(swan_file_open_read(pipe_path, &fd, NULL), SWAN_E_INVALID);
    alarm(0);
}

static void commit_replaces(void **state)
{
    const char *dir = *state;
    const char *final = scratch_write(dir, "out.mp4", "old", 3);
    char temp[SWAN_PATH_MAX], *data;
    size_t bytes;
    assert_int_equal(swan_file_temp_path(final, temp, sizeof temp), SWAN_OK);
    assert_string_equal(strrchr(temp, '.'), ".mp4");
    assert_memory_equal(temp, dir, strlen(dir));
    scratch_write(dir, swan_path_name(temp), "newer", 5);
    assert_int_equal(swan_file_commit(temp, final), SWAN_OK);
    assert_int_equal(swan_file_read(final, 100, &data, &bytes), SWAN_OK);
    assert_string_equal(data, "newer");
    free(data);
    assert_int_equal(scratch_count(dir), 1);
}

static void discard_leaves_the_old_file(void **state)
{
    const char *dir = *state;
    const char *final = scratch_write(dir, "out.mp4", "old", 3);
    char temp[SWAN_PATH_MAX];
    uint64_t bytes;
    assert_int_equal(swan_file_temp_path(final, temp, sizeof temp), SWAN_OK);
    assert_int_equal(scratch_count(dir), 2);
    swan_file_discard(temp);
    swan_file_discard(temp);
    assert_int_equal(scratch_count(dir), 1);
    assert_int_equal(swan_file_size(final, &bytes), SWAN_OK);
    assert_int_equal(bytes, 3);
}

static void commit_of_nothing_fails(void **state)
{
    const char *dir = *state;
    assert_int_equal(swan_file_commit(scratch_path(dir, "gone"), scratch_path(dir, "out")), SWAN_E_IO);
    assert_non_null(strstr(swan_last_error(), "out"));
    assert_int_equal(scratch_count(dir), 0);
}

static void bad_targets(void **state)
{
    const char *dir = *state;
    char temp[SWAN_PATH_MAX];
    assert_int_equal(swan_file_temp_path(dir, temp, sizeof temp), SWAN_E_INVALID);
    assert_int_equal(swan_file_temp_path("/dev/null", temp, sizeof temp), SWAN_E_INVALID);
    assert_int_equal(swan_file_temp_path("", temp, sizeof temp), SWAN_E_INVALID);
    assert_int_equal(swan_file_temp_path("some/", temp, sizeof temp), SWAN_E_INVALID);
    assert_int_equal(swan_file_temp_path(scratch_path(dir, "no/where.mp4"), temp, sizeof temp), SWAN_E_NOT_FOUND);
    assert_non_null(strstr(swan_last_error(), "no/where.mp4"));
    const char *file = scratch_write(dir, "file", "x", 1);
    char under[SWAN_PATH_MAX];
    assert_int_equal(swan_path_join(file, "out.mp4", under, sizeof under), SWAN_OK);
    assert_int_equal(swan_file_temp_path(under, temp, sizeof temp), SWAN_E_NOT_FOUND);
    swan_file writer;
    assert_int_equal(swan_file_begin(&writer, under), SWAN_E_NOT_FOUND);
    swan_file_abort(&writer);
    assert_int_equal(scratch_count(dir), 1);
}

static void new_files_follow_the_umask(void **state)
{
    const char *final = scratch_path(*state, "out");
    swan_file writer;
    struct stat info;
    mode_t before = umask(027);
    assert_int_equal(swan_file_begin(&writer, final), SWAN_OK);
    assert_int_equal(swan_file_write(&writer, "x", 1), SWAN_OK);
    assert_int_equal(swan_file_end(&writer), SWAN_OK);
    umask(before);
    assert_int_equal(stat(final, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
}

static void full_disk(void **state)
{
    const char *dir = *state;
    const char *final = scratch_path(dir, "big");
    static char block[1 << 16];
    struct rlimit before, small;
    swan_file writer;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 1 << 17;
    assert_int_equal(swan_file_begin(&writer, final), SWAN_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    swan_status status = SWAN_OK;
    for (int i = 0; i < 4 && status == SWAN_OK; i++) status = swan_file_write(&writer, block, sizeof block);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, SWAN_E_IO);
    assert_non_null(strstr(swan_last_error(), final));
    swan_file_abort(&writer);
    assert_int_equal(scratch_count(dir), 0);
}

static void full_disk_seen_only_at_the_end(void **state)
{
    const char *dir = *state;
    struct rlimit before, small;
    swan_file writer;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 0;
    assert_int_equal(swan_file_begin(&writer, scratch_path(dir, "small")), SWAN_OK);
    assert_int_equal(swan_file_write(&writer, "buffered", 8), SWAN_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    swan_status status = swan_file_end(&writer);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, SWAN_E_IO);
    assert_int_equal(scratch_count(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),
        cmocka_unit_test_setup_teardown(queries, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(named_pipe_does_not_block, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(commit_replaces, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(discard_leaves_the_old_file, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(commit_of_nothing_fails, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(bad_targets, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(new_files_follow_the_umask, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(full_disk, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(full_disk_seen_only_at_the_end, scratch_open, scratch_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
