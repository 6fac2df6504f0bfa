/* What the tests on a GPU share: runs of models without files, on the CPU and on the GPU, and distances between what they left. */
#ifndef SWAN_TESTS_GPU_GPU_H
#define SWAN_TESTS_GPU_GPU_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include "base/status.h"
#include "ckpt/npy.h"
#include "pipe/session.h"

#define SKIPPED 77 /* what CTest takes for a skip */

#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        swan_status assert_ok_status_ = (call);                                                                        \
        if (assert_ok_status_ != SWAN_OK)                                                                              \
            fail_msg("%s: %s: %s", #call, swan_status_name(assert_ok_status_), swan_last_error());                     \
    } while (0)

enum { WIDTH = 160, HEIGHT = 96, FRAMES = 9, STEPS = 3, FRAME_BYTES = WIDTH * HEIGHT * 3 };

/* One engine and session, and what its last video was. */
typedef struct gpu_run {
    swan_params *params;
    swan_engine *engine;
    swan_session *session;
    uint8_t *frames; /* u8 [FRAMES, HEIGHT, WIDTH, 3] */
    int frame_count;
    char message[512]; /* of the last generate that failed */
} gpu_run;

static inline bool gpu_is_there(void)
{
    swan_device_info list[SWAN_DEVICE_MAX];
    return swan_device_list(list) > 1 && list[1].arch;
}

/* On the encoding thread: cmocka's asserts do not work here, so mistakes spoil the count. */
static inline void gpu_frame(void *user, int index, int width, int height, const uint8_t *rgb)
{
    gpu_run *r = user;
    if (index != r->frame_count || index >= FRAMES || width != WIDTH || height != HEIGHT) r->frame_count = -1000;
    else memcpy(r->frames + (size_t)r->frame_count++ * FRAME_BYTES, rgb, FRAME_BYTES);
}

/* "key=value" strings, ended by NULL, over random weights and a small geometry; swan_engine_open's status. */
static inline swan_status gpu_open_engine(gpu_run *r, const char *model, const char *const *settings)
{
    static const char *const usual[] = {"weights=random", "size=160x96", "num_frames=9", "num_inference_steps=3", NULL};
    const char *const *lists[] = {usual, settings};
    *r = (gpu_run){0};
    assert_ok(swan_params_new(&r->params));
    assert_ok(swan_params_set(r->params, "model", model));
    for (int l = 0; l < 2; l++)
        for (const char *const *at = lists[l]; *at; at++) {
            const char *equals = strchr(*at, '=');
            char key[64];
            snprintf(key, sizeof key, "%.*s", (int)(equals - *at), *at);
            assert_ok(swan_params_set(r->params, key, equals + 1));
        }
    r->frames = calloc(FRAMES, FRAME_BYTES);
    assert_non_null(r->frames);
    return swan_engine_open(r->params, NULL, &r->engine);
}

static inline void gpu_open(gpu_run *r, const char *model, const char *const *settings)
{
    assert_ok(gpu_open_engine(r, model, settings));
    swan_callbacks callbacks = {.user = r, .frame = gpu_frame};
    assert_ok(swan_session_open(r->engine, r->params, &callbacks, &r->session));
}

static inline swan_status gpu_try(gpu_run *r, const char *prompt, int64_t seed, swan_report *report)
{
    r->frame_count = 0;
    swan_status status = swan_session_generate(r->session, prompt, seed, report);
    if (status) snprintf(r->message, sizeof r->message, "%s", swan_last_error());
    return status;
}

static inline swan_report gpu_generate(gpu_run *r, const char *prompt, int64_t seed)
{
    swan_report report;
    assert_ok(gpu_try(r, prompt, seed, &report));
    assert_int_equal(r->frame_count, FRAMES);
    return report;
}

static inline void gpu_close(gpu_run *r)
{
    swan_session_close(r->session);
    swan_engine_close(r->engine);
    swan_params_free(r->params);
    free(r->frames);
    *r = (gpu_run){0};
}

/* ||a - b|| / ||a|| of two dumped arrays of one shape; NaN where one is not finite. */
static inline double gpu_distance(const char *a_directory, const char *b_directory, const char *name)
{
    char path[2][512];
    swan_tensor t[2];
    const char *const directories[] = {a_directory, b_directory};
    for (int i = 0; i < 2; i++) {
        snprintf(path[i], sizeof path[i], "%s/%s.npy", directories[i], name);
        assert_ok(swan_npy_load(path[i], &t[i]));
    }
    assert_true(swan_tensor_same_shape(&t[0], &t[1]) && t[0].dtype == SWAN_F32 && t[1].dtype == SWAN_F32);
    double difference = 0, whole = 0;
    for (int64_t i = 0; i < swan_tensor_count(&t[0]); i++) {
        double x = (double)((const float *)t[0].data)[i], y = (double)((const float *)t[1].data)[i];
        difference += (x - y) * (x - y);
        whole += x * x;
    }
    free(t[0].data);
    free(t[1].data);
    return sqrt(difference / whole);
}

#endif
