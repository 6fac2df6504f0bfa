/* The host and, where there is one, the first GPU as a device; the list of devices; policies, pure functions of a shape. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "kernel/cuda/policy.h"
#include "kernel/device.h"

static swan_device device; /* the one that is tested */

static int open_host(void **state)
{
    (void)state;
    return swan_device_open(SWAN_DEVICE_HOST, &device) != SWAN_OK;
}

/* Without a GPU nothing is opened, and the tests that need one are skipped. */
static int open_gpu(void **state)
{
    (void)state;
    swan_device_info list[SWAN_DEVICE_MAX];
    return swan_device_list(list) > 1 && swan_device_open(list[1].index, &device) != SWAN_OK;
}

static int close_device(void **state)
{
    (void)state;
    swan_device_close(&device);
    return device.backend != NULL;
}

/* The device, or the end of the test. */
static const swan_device *opened(void)
{
    if (!device.backend) skip();
    return &device;
}

static void the_host_comes_first(void **state)
{
    (void)state;
    swan_device_info list[SWAN_DEVICE_MAX];
    int n = swan_device_list(list);
    assert_in_range(n, 1, SWAN_DEVICE_MAX);
    assert_int_equal(list[0].index, SWAN_DEVICE_HOST);
    assert_int_equal(list[0].arch, SWAN_ARCH_CPU);
    assert_true(list[0].memory_bytes > (uint64_t)1 << 20);
    for (int i = 1; i < n; i++) {
        assert_true(list[i].index >= 0);
        assert_true(list[i].name[0]);
        assert_true((list[i].arch & ~SWAN_ARCH_CUDA) == 0);
    }
}

static void a_gpu_that_is_not_there(void **state)
{
    (void)state;
    swan_device d;
    assert_int_equal(swan_device_open(SWAN_DEVICE_MAX, &d), SWAN_E_UNSUPPORTED);
    assert_non_null(strstr(swan_last_error(), "cuda:17"));
    assert_null(d.backend);
    assert_int_equal(swan_device_open(-2, &d), SWAN_E_UNSUPPORTED);
    swan_device_close(&d);
}

static void memory(void **state)
{
    (void)state;
    const swan_device *d = opened();
    uint64_t left = 0, all = 0;
    assert_int_equal(d->backend->use(d), SWAN_OK);
    assert_int_equal(d->backend->fault(d), SWAN_OK);
    assert_int_equal(d->backend->memory(d, &left, &all), SWAN_OK);
    assert_true(left > 0 && left <= all);
    void *p[3];
    assert_int_equal(d->backend->alloc(d, 0, &p[0]), SWAN_OK);
    assert_int_equal(d->backend->alloc(d, 1, &p[1]), SWAN_OK);
    assert_int_equal(d->backend->alloc_staging(d, 1000, &p[2]), SWAN_OK);
    for (int i = 0; i < 3; i++) {
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % 256, 0);
    }
    d->backend->free(d, p[0]);
    d->backend->free(d, p[1]);
    d->backend->free_staging(d, p[2]);
    d->backend->free(d, NULL);
}

static void no_memory(void **state)
{
    (void)state;
    const swan_device *d = opened();
    const size_t too_much[] = {SIZE_MAX, SIZE_MAX - 255}; /* anything smaller would make a sanitizer stop the test */
    for (size_t i = 0; i < sizeof too_much / sizeof *too_much; i++) {
        void *p = &device;
        assert_int_equal(d->backend->alloc(d, too_much[i], &p), SWAN_E_NOMEM);
        assert_null(p);
    }
    void *p;
    assert_int_equal(d->backend->alloc(d, 64, &p), SWAN_OK);
    d->backend->free(d, p);
}

static void copies_and_fills(void **state)
{
    (void)state;
    const swan_device *d = opened();
    swan_stream s = {0};
    uint8_t from[100], back[100];
    void *there;
    for (int i = 0; i < 100; i++) from[i] = (uint8_t)(i + 1);
    assert_int_equal(d->backend->stream_open(d, &s), SWAN_OK);
    assert_int_equal(d->backend->alloc(d, 300, &there), SWAN_OK);
    assert_int_equal(d->backend->fill(&s, there, 0xA5, 300), SWAN_OK);
    assert_int_equal(d->backend->copy(&s, (uint8_t *)there + 100, from, 100), SWAN_OK);       /* up */
    assert_int_equal(d->backend->copy(&s, there, (uint8_t *)there + 100, 50), SWAN_OK);       /* within */
    assert_int_equal(swan_device_copy_now(d, &s, back, (uint8_t *)there + 50, 100), SWAN_OK); /* down */
    for (int i = 0; i < 50; i++) {
        assert_int_equal(back[i], 0xA5);
        assert_int_equal(back[50 + i], i + 1);
    }
    assert_int_equal(swan_device_copy_now(d, &s, back, there, 50), SWAN_OK);
    assert_memory_equal(back, from, 50);
    assert_int_equal(d->backend->copy(&s, NULL, NULL, 0), SWAN_OK);
    d->backend->free(d, there);
    d->backend->stream_close(d, &s);
    assert_null(s.cuda);
}

static void events_tell_time(void **state)
{
    (void)state;
    const swan_device *d = opened();
    swan_stream s = {0};
    swan_event a, b;
    double seconds = -1;
    assert_int_equal(d->backend->stream_open(d, &s), SWAN_OK);
    assert_int_equal(d->backend->event_open(d, &a), SWAN_OK);
    assert_int_equal(d->backend->event_open(d, &b), SWAN_OK);
    assert_int_equal(d->backend->event_record(&s, &a), SWAN_OK);
    for (volatile int i = 0; i < 1000000; i++) continue;
    assert_int_equal(d->backend->event_record(&s, &b), SWAN_OK);
    assert_int_equal(d->backend->event_wait(&s, &b), SWAN_OK);
    assert_int_equal(d->backend->event_finish(&b), SWAN_OK);
    assert_int_equal(d->backend->event_elapsed(&a, &b, &seconds), SWAN_OK);
    assert_true(seconds > 0 && seconds < 60);
    assert_int_equal(d->backend->synchronise(&s), SWAN_OK);
    d->backend->event_close(d, &a);
    d->backend->event_close(d, &b);
    d->backend->stream_close(d, &s);
}

static void the_host_has_no_graphs(void **state)
{
    (void)state;
    const swan_device *d = opened();
    swan_stream s = {0};
    swan_graph g = {&g};
    assert_int_equal(d->backend->capture_begin(&s), SWAN_E_UNSUPPORTED);
    assert_int_equal(d->backend->capture_end(&s, &g), SWAN_E_UNSUPPORTED);
    assert_null(g.cuda);
    assert_int_equal(d->backend->graph_launch(&s, &g), SWAN_E_UNSUPPORTED);
    d->backend->graph_close(d, &g);
}

/* What is recorded does not run; each launch runs it once. */
static void a_graph_runs_again(void **state)
{
    (void)state;
    const swan_device *d = opened();
    swan_stream s = {0};
    swan_graph g;
    void *staging, *there;
    assert_int_equal(d->backend->stream_open(d, &s), SWAN_OK);
    assert_int_equal(d->backend->alloc_staging(d, 64, &staging), SWAN_OK);
    assert_int_equal(d->backend->alloc(d, 128, &there), SWAN_OK);
    uint8_t *bytes = staging;
    memset(bytes, 1, 64);
    assert_int_equal(d->backend->fill(&s, there, 0, 128), SWAN_OK);
    assert_int_equal(d->backend->synchronise(&s), SWAN_OK);
    assert_int_equal(d->backend->capture_begin(&s), SWAN_OK);
    assert_int_equal(d->backend->copy(&s, (uint8_t *)there + 64, there, 64), SWAN_OK);
    assert_int_equal(d->backend->copy(&s, there, staging, 64), SWAN_OK);
    assert_int_equal(d->backend->capture_end(&s, &g), SWAN_OK);
    uint8_t back[128];
    for (int launches = 0; launches < 3; launches++) {
        assert_int_equal(swan_device_copy_now(d, &s, back, there, 128), SWAN_OK);
        assert_int_equal(back[0], launches > 0);   /* staging */
        assert_int_equal(back[127], launches > 1); /* what the launch before had put there */
        assert_int_equal(d->backend->graph_launch(&s, &g), SWAN_OK);
    }
    assert_int_equal(d->backend->synchronise(&s), SWAN_OK);
    d->backend->graph_close(d, &g);
    d->backend->free_staging(d, staging);
    d->backend->free(d, there);
    d->backend->stream_close(d, &s);
}

#ifdef SWAN_WITH_CUDA
#include "kernel/cuda/cuda.h"

/* Needs no GPU. A fault is not tried: it would last as long as the process. */
static void errors_of_cuda(void **state)
{
    (void)state;
    assert_int_equal(swan_cuda_status(1, "here"), SWAN_E_BUG); /* invalid value */
    assert_non_null(strstr(swan_last_error(), "here: "));
    assert_int_equal(swan_cuda_status(801, "here"), SWAN_E_BUG);   /* not supported */
    assert_int_equal(swan_cuda_status(2, "here"), SWAN_E_NOMEM);   /* memory allocation */
    assert_int_equal(swan_cuda_status(209, "here"), SWAN_E_DEVICE); /* no kernel image for the device */
}

static void every_gpu_fills_every_slot(void **state)
{
    (void)state;
    const swan_dtype formats[] = {SWAN_F32, SWAN_BF16};
    for (unsigned arch = SWAN_ARCH_SM80; arch <= SWAN_ARCH_SM120; arch <<= 1) {
        for (int f = 0; f < 2; f++) {
            swan_kernels k;
            assert_int_equal(swan_kernels_pick(arch, formats[f], 0, NULL, &k), SWAN_OK);
            for (int slot = 0; slot < SWAN_SLOT_COUNT; slot++) {
                const swan_kernel_row *row = swan_kernels_row(&k, (swan_slot)slot);
                assert_non_null(row);
                assert_true(row->picked & arch);
                if (formats[f] == SWAN_F32) assert_string_equal(row->variant, "naive"); /* the exact mode */
                if (arch != SWAN_ARCH_SM90) assert_null(strstr(row->variant, "sm90"));
            }
        }
    }
}

/* The image decoder finds what it calls in F16 on each of them, and nothing else is in that table. */
static void every_gpu_decodes_images_in_f16(void **state)
{
    (void)state;
    const swan_slot images[] = {SWAN_SLOT_elem_map,          SWAN_SLOT_conv_conv3x3,  SWAN_SLOT_conv_up2x2,
                                SWAN_SLOT_image_from_latent, SWAN_SLOT_image_to_rgb8, SWAN_SLOT_image_to_i420};
    for (unsigned arch = SWAN_ARCH_SM80; arch <= SWAN_ARCH_SM120; arch <<= 1) {
        swan_kernels k;
        int filled = 0, wanted = (int)(sizeof images / sizeof *images);
        assert_int_equal(swan_kernels_pick(arch, SWAN_F16, 0, NULL, &k), SWAN_OK);
        for (int i = 0; i < wanted; i++) assert_non_null(swan_kernels_row(&k, images[i]));
        for (int slot = 0; slot < SWAN_SLOT_COUNT; slot++) filled += swan_kernels_row(&k, (swan_slot)slot) != NULL;
        assert_int_equal(filled, wanted);
        assert_string_equal(k.conv_conv3x3.row->variant, arch == SWAN_ARCH_SM90 ? "sm90" : "mma");
        assert_string_equal(k.conv_up2x2.row->variant, arch == SWAN_ARCH_SM90 ? "sm90" : "mma");
    }
}
#endif

/* Shapes of Wan 1.3B. */
static void linear_policy(void **state)
{
    (void)state;
    const float bias[1] = {0};
    swan_linear_args a = {.M = 512, .N = 1536, .K = 1536};
    assert_true(swan_linear_prefers_cublaslt(&a));
    a.epilogue = SWAN_EPI_ADD;
    assert_true(swan_linear_prefers_cublaslt(&a));
    a.bias = bias; /* an f32 bias needs a second kernel */
    assert_false(swan_linear_direct(&a));
    assert_false(swan_linear_prefers_cublaslt(&a));
    a.bias = NULL;
    for (int e = 0; e < SWAN_EPI_COUNT; e++) {
        a.epilogue = (swan_epilogue)e;
        assert_int_equal(swan_linear_direct(&a), e == SWAN_EPI_NONE || e == SWAN_EPI_ADD);
    }
    a.epilogue = SWAN_EPI_NONE;
    a.M = 32760; /* ours is faster */
    assert_false(swan_linear_prefers_cublaslt(&a));
}

int main(void)
{
    const struct CMUnitTest host[] = {
        cmocka_unit_test(the_host_comes_first), cmocka_unit_test(a_gpu_that_is_not_there), cmocka_unit_test(memory),
        cmocka_unit_test(no_memory),            cmocka_unit_test(copies_and_fills),        cmocka_unit_test(events_tell_time),
        cmocka_unit_test(the_host_has_no_graphs), cmocka_unit_test(linear_policy),
#ifdef SWAN_WITH_CUDA
        cmocka_unit_test(errors_of_cuda),         cmocka_unit_test(every_gpu_fills_every_slot),
        cmocka_unit_test(every_gpu_decodes_images_in_f16),
#endif
    };
    const struct CMUnitTest gpu[] = {
        cmocka_unit_test(memory),           cmocka_unit_test(no_memory),          cmocka_unit_test(copies_and_fills),
        cmocka_unit_test(events_tell_time), cmocka_unit_test(a_graph_runs_again),
    };
    int failed = cmocka_run_group_tests_name("host", host, open_host, close_device);
    return failed + cmocka_run_group_tests_name("first GPU", gpu, open_gpu, close_device);
}
