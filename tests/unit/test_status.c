/* Messages of failures: the thread's, and those that are kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include "base/status.h"

static void the_first_failure_stays(void **state)
{
    (void)state;
    swan_failure f = {0};
    swan_status_keep(&f, SWAN_OK);
    assert_int_equal(swan_status_kept(&f), SWAN_OK);
    swan_status_keep(&f, SWAN_FAIL(SWAN_E_IO, "%s: disk full", "a.mp4"));
    swan_status_keep(&f, SWAN_FAIL(SWAN_E_CANCELLED, "cancelled"));
    swan_status_keep(&f, SWAN_OK);
    assert_string_equal(swan_last_error(), "cancelled");
    assert_int_equal(swan_status_kept(&f), SWAN_E_IO);
    assert_string_equal(swan_last_error(), "a.mp4: disk full");
}

/* What is kept is as long as what the thread had: nothing of a long path is lost on the way. */
static void whole_messages(void **state)
{
    (void)state;
    char path[900];
    memset(path, 'a', sizeof path);
    path[sizeof path - 1] = 0;
    swan_failure f = {0};
    swan_status_keep(&f, SWAN_FAIL(SWAN_E_IO, "%s: no space", path));
    (void)SWAN_FAIL(SWAN_E_BUG, "another");
    assert_int_equal(swan_status_kept(&f), SWAN_E_IO);
    assert_int_equal(strlen(swan_last_error()), strlen(path) + strlen(": no space"));
    assert_non_null(strstr(swan_last_error(), ": no space"));
}

static void a_prefix_goes_before(void **state)
{
    (void)state;
    (void)SWAN_FAIL(SWAN_E_FORMAT, "row 3");
    assert_int_equal(swan_status_prefix(SWAN_E_FORMAT, "%s", "x.npy"), SWAN_E_FORMAT);
    assert_string_equal(swan_last_error(), "x.npy: row 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_failure_stays),
        cmocka_unit_test(whole_messages),
        cmocka_unit_test(a_prefix_goes_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
