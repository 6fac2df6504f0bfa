/* Keys, hosts and origins; ranges and entity tags; forms; message lines: what HTTP brings, as pure functions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/form.h"
#include "server/guard.h"
#include "server/lines.h"
#include "server/range.h"

static void keys(void **state)
{
    (void)state;
    static swan_guard g;
    g = (swan_guard){0};
    assert_true(swan_guard_key_ok(&g, NULL)); /* no keys */
    assert_int_equal(swan_guard_add_keys(&g, "# a comment\n alpha \n\nbeta,gamma\n", "file"), SWAN_OK);
    assert_int_equal(g.key_count, 3);
    assert_true(swan_guard_key_ok(&g, "Bearer alpha"));
    assert_true(swan_guard_key_ok(&g, "bearer gamma"));
    static const char *const bad[] = {"Bearer alph", "Bearer alphaa", "Bearer ", "Bearer", "alpha", "Basic alpha", "Bearer alpha,beta", "", "Bearer # a comment"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(swan_guard_key_ok(&g, bad[i]));
    assert_false(swan_guard_key_ok(&g, NULL));
    char longest[400];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(swan_guard_add_keys(&g, longest, "file"), SWAN_E_INVALID);
}

static void hosts(void **state)
{
    (void)state;
    static swan_guard local, open_, named;
    local = (swan_guard){.loopback = true};
    static const char *const good[] = {"localhost", "LOCALHOST:80", "127.0.0.1:7926", "[::1]:7926", "[::1]"};
    static const char *const bad[] = {"evil.example", "evil.example:7926", "localhost.evil.example", "127.0.0.1.evil.example", "", ":80", "[::1", "localhost:80x"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(swan_guard_host_ok(&local, good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(swan_guard_host_ok(&local, bad[i]));
    assert_false(swan_guard_host_ok(&local, NULL));
    open_ = (swan_guard){.loopback = false};
    assert_true(swan_guard_host_ok(&open_, "anything.example"));
    named = (swan_guard){.hosts = "swan.example, other.example"};
    assert_true(swan_guard_host_ok(&named, "swan.example:443"));
    assert_true(swan_guard_host_ok(&named, "other.example"));
    assert_false(swan_guard_host_ok(&named, "evil.example"));
}

static void origins(void **state)
{
    (void)state;
    static swan_guard g;
    g = (swan_guard){.loopback = true, .origins = "https://app.example"};
    const char *host = "127.0.0.1:7926";
    assert_true(swan_guard_origin_ok(&g, host, NULL, NULL)); /* no browser */
    assert_true(swan_guard_origin_ok(&g, host, "http://127.0.0.1:7926", "same-origin"));
    assert_true(swan_guard_origin_ok(&g, host, "https://app.example", "cross-site"));
    assert_false(swan_guard_origin_ok(&g, host, "https://evil.example", NULL));
    assert_false(swan_guard_origin_ok(&g, host, "http://127.0.0.1:8000", NULL));
    assert_false(swan_guard_origin_ok(&g, host, "null", NULL));
    assert_false(swan_guard_origin_ok(&g, host, NULL, "cross-site"));
    assert_false(swan_guard_origin_ok(&g, host, "http://127.0.0.1:7926", "same-site"));
    assert_false(swan_guard_origin_named(&g, "https://app.example.evil"));
    assert_false(swan_guard_origin_named(&g, ""));
}

static void check_range(const char *header, swan_range_kind kind, uint64_t first, uint64_t length)
{
    swan_range r = swan_range_parse(header, 100);
    assert_int_equal(r.kind, kind);
    if (kind == SWAN_RANGE_UNSATISFIABLE) return;
    assert_int_equal(r.first, first);
    assert_int_equal(r.length, length);
}

static void ranges(void **state)
{
    (void)state;
    check_range(NULL, SWAN_RANGE_WHOLE, 0, 100);
    check_range("bytes=0-9", SWAN_RANGE_PART, 0, 10);
    check_range("bytes=99-", SWAN_RANGE_PART, 99, 1);
    check_range("bytes=90-1000", SWAN_RANGE_PART, 90, 10);
    check_range("bytes=-5", SWAN_RANGE_PART, 95, 5);
    check_range("bytes=-500", SWAN_RANGE_PART, 0, 100);
    check_range("bytes=100-", SWAN_RANGE_UNSATISFIABLE, 0, 0);
    check_range("bytes=-0", SWAN_RANGE_UNSATISFIABLE, 0, 0);
    static const char *const ignored[] = {"bytes=5-4", "bytes=", "bytes=a-b", "bytes=0-1,5-6", "items=0-1", "bytes=0", "bytes=--1", "bytes=1-2x",
                                          "bytes=99999999999999999999-"};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) check_range(ignored[i], SWAN_RANGE_WHOLE, 0, 100);
    assert_int_equal(swan_range_parse("bytes=0-", 0).kind, SWAN_RANGE_UNSATISFIABLE);
}

static void etags(void **state)
{
    (void)state;
    assert_true(swan_range_etag_listed("\"a\"", "\"a\""));
    assert_true(swan_range_etag_listed("\"b\", W/\"a\"", "\"a\""));
    assert_true(swan_range_etag_listed("*", "\"a\""));
    assert_false(swan_range_etag_listed("\"ab\"", "\"a\""));
    assert_false(swan_range_etag_listed("", "\"a\""));
    assert_false(swan_range_etag_listed(NULL, "\"a\""));
}

#define TYPE "multipart/form-data; boundary=XX"

static json_t *parse(const char *body) { return swan_form_parse(TYPE, body, strlen(body)); }

static void forms(void **state)
{
    (void)state;
    json_t *f = parse("--XX\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na fox\r\nin snow\r\n--XX\r\n"
                      "content-type: text/plain\r\ncontent-disposition: form-data; name=seed\r\n\r\n\r\n--XX\r\n"
                      "Content-Disposition: form-data; name=\"input_reference\"; filename=\"a;b.png\"\r\n\r\n\x89PNG\r\n--XX--\r\n");
    assert_non_null(f);
    assert_string_equal(json_string_value(json_object_get(f, "prompt")), "a fox\r\nin snow");
    assert_string_equal(json_string_value(json_object_get(f, "seed")), "");
    assert_string_equal(json_string_value(json_object_get(f, "input_reference")), "");
    assert_int_equal(json_object_size(f), 3);
    json_decref(f);
    static const char *const bad[] = {
        "", "--XX", "--XX\r\n", "XX--\r\n", "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb",
        "--XX\r\nContent-Disposition: form-data\r\n\r\nb\r\n--XX--", "--XX\r\n\r\nb\r\n--XX--",
        "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--XX--",
        "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\xff\xfe\r\n--XX--", "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--XXx"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_null(parse(bad[i]));
    assert_null(swan_form_parse("multipart/form-data", "--XX--", 6));
    assert_null(swan_form_parse("multipart/form-data; boundary=", "----", 4));
    assert_false(swan_form_is("multipart/form-dataX"));
    assert_false(swan_form_is(NULL));
    f = swan_form_parse("Multipart/Form-Data; charset=x; boundary=\"XX\"", "--XX--", 6);
    assert_non_null(f);
    json_decref(f);
}

static void lines(void **state)
{
    (void)state;
    int pair[2];
    bool ended;
    json_t *message;
    swan_lines l;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    swan_lines_open(&l, pair[0], 100);
    assert_int_equal(swan_lines_send(pair[1], json_pack("{s:s, s:i}", "a", "x\ny", "n", 3)), SWAN_OK);
    assert_int_equal(write(pair[1], "{\"a\":", 5), 5);
    assert_int_equal(swan_lines_fill(&l, &ended), SWAN_OK);
    assert_int_equal(swan_lines_next(&l, &message), SWAN_OK);
    assert_string_equal(swan_lines_text(message, "a", ""), "x\ny");
    assert_true(swan_lines_number(message, "n", 0) == 3);
    assert_string_equal(swan_lines_text(message, "none", "otherwise"), "otherwise");
    json_decref(message);
    assert_int_equal(swan_lines_next(&l, &message), SWAN_OK);
    assert_null(message); /* half a line */
    assert_int_equal(write(pair[1], "1}\n[]\n", 6), 6);
    assert_int_equal(swan_lines_fill(&l, &ended), SWAN_OK);
    assert_int_equal(swan_lines_next(&l, &message), SWAN_OK);
    assert_non_null(message);
    json_decref(message);
    assert_int_equal(swan_lines_next(&l, &message), SWAN_E_FORMAT); /* an array */
    char flood[200];
    memset(flood, 'x', sizeof flood);
    assert_int_equal(write(pair[1], flood, sizeof flood), sizeof flood);
    assert_int_equal(swan_lines_fill(&l, &ended), SWAN_OK);
    assert_int_equal(swan_lines_fill(&l, &ended), SWAN_E_FORMAT); /* longer than any line may be */
    close(pair[0]);
    assert_int_equal(swan_lines_send(pair[1], json_object()), SWAN_E_IO);
    close(pair[1]);
    swan_lines_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys), cmocka_unit_test(hosts), cmocka_unit_test(origins), cmocka_unit_test(ranges),
        cmocka_unit_test(etags), cmocka_unit_test(forms), cmocka_unit_test(lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
