/* A fault of the device, made on purpose: one clear error, every later call says so, and closing is safe. The process's context is
 * lost after it, so this is a program of its own. */
#include "gpu.h"

static void a_fault_is_said_and_stays(void **state)
{
    (void)state;
    gpu_run r;
    gpu_open(&r, "tiny", (const char *const[]){"device=cuda", NULL});
    gpu_generate(&r, "a fox", 1);
    /* a kernel that writes where nothing is */
    swan_elem_map_args wrong = {.x = (const void *)(uintptr_t)64, .y = (void *)(uintptr_t)64, .n = 1 << 20, .map = SWAN_MAP_SILU};
    swan_status status = r.engine->kernels.elem_map.run(&r.session->stream, &wrong);
    if (!status) status = r.engine->device.backend->synchronise(&r.session->stream);
    assert_int_equal(status, SWAN_E_DEVICE);
    print_message("  %s\n", swan_last_error());
    for (int i = 0; i < 2; i++) {
        assert_int_equal(gpu_try(&r, "a fox", 1, NULL), SWAN_E_DEVICE);
        print_message("  %s\n", r.message);
        assert_true(strlen(r.message) > 10);
    }
    swan_session *s;
    assert_int_equal(swan_session_open(r.engine, r.params, NULL, &s), SWAN_E_DEVICE);
    gpu_close(&r);
}

int main(void)
{
    if (!gpu_is_there()) {
        printf("skipped: no GPU that this build has kernels for\n");
        return SKIPPED;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_fault_is_said_and_stays)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
