/* Engines and sessions over the small checkpoints of tests/parity/data, and what a run of them gives, for several tests. */
#ifndef SWAN_TESTS_UNIT_SESSION_H
#define SWAN_TESTS_UNIT_SESSION_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include "base/status.h"
#include "pipe/session.h"

#define MODELS "tests/parity/data/"

#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        swan_status assert_ok_status_ = (call);                                                                        \
        if (assert_ok_status_ != SWAN_OK)                                                                              \
            fail_msg("%s: %s: %s", #call, swan_status_name(assert_ok_status_), swan_last_error());                     \
    } while (0)

enum { FRAMES = 9, WIDTH = 64, HEIGHT = 48, STEPS = 2 };

/* "key=value" strings, ended by NULL, over a small geometry. model: a folder of MODELS. */
static inline swan_params *test_params(const char *model, const char *const *settings)
{
    char path[256];
    swan_params *p;
    snprintf(path, sizeof path, MODELS "%s", model);
    assert_ok(swan_params_new(&p));
    assert_ok(swan_params_set(p, "model", path));
    assert_ok(swan_params_set(p, "taehv", MODELS "taehv-tiny.safetensors"));
    assert_ok(swan_params_set(p, "size", "64x48"));
    assert_ok(swan_params_set(p, "num_frames", "9"));
    assert_ok(swan_params_set(p, "num_inference_steps", "2"));
    assert_ok(swan_params_set(p, "threads", "2"));
    assert_ok(swan_params_set(p, "device", "cpu")); /* also where there is a GPU, which "auto" would take */
    for (; settings && *settings; settings++) {
        const char *equals = strchr(*settings, '=');
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)(equals - *settings), *settings);
        assert_ok(swan_params_set(p, key, equals + 1));
    }
    return p;
}

/* One phase of a run as it really was. */
typedef struct test_phase {
    size_t peak; /* of the activation arena */
    swan_counters counters;
} test_phase;

/* Watches a run through its callbacks. Zero it but for what to cancel; user of the callbacks is the test_run. */
typedef struct test_run {
    swan_engine *engine;
    swan_session *session;
    swan_params *params;
    /* what was seen */
    uint8_t *frames; /* u8 [FRAMES, HEIGHT, WIDTH, 3] */
    int frame_count, reports, warnings;
    swan_progress last;
    atomic_int phase_now; /* last.phase, for other threads */
    test_phase phase[SWAN_PLAN_PHASES];
    char log[512];
    /* answers false at this report of this phase */
    bool cancels;
    swan_phase cancel_phase;
    int cancel_step;
} test_run;

static inline void test_end_phase(test_run *r, int i)
{
    struct swan_session *s = r->session;
    r->phase[i] = (test_phase){s->activations.peak, s->ctx.counters};
    s->ctx.counters = (swan_counters){0};
    s->activations.peak = s->activations.used;
}

static inline bool test_progress(void *user, const swan_progress *p)
{
    test_run *r = user;
    if (r->reports++ > 0) {
        assert_true(p->phase >= r->last.phase);
        assert_true(p->fraction >= r->last.fraction);
        assert_true(p->elapsed_s >= r->last.elapsed_s);
    }
    assert_true(p->fraction >= 0 && p->fraction <= 1);
    if (r->session && p->phase != r->last.phase && p->phase > SWAN_PHASE_TEXT) test_end_phase(r, (int)p->phase - SWAN_PHASE_DENOISE);
    r->last = *p;
    atomic_store(&r->phase_now, (int)p->phase);
    return !(r->cancels && p->phase == r->cancel_phase && p->step == r->cancel_step);
}

static inline void test_log(void *user, swan_log_level level, const char *text)
{
    test_run *r = user;
    if (level == SWAN_LOG_WARN) {
        r->warnings++;
        snprintf(r->log, sizeof r->log, "%s", text);
    }
}

/* On the encoding thread: cmocka's asserts do not work here, so mistakes spoil the count. */
static inline void test_frame(void *user, int index, int width, int height, const uint8_t *rgb)
{
    test_run *r = user;
    size_t bytes = (size_t)WIDTH * HEIGHT * 3;
    if (index != r->frame_count || width != WIDTH || height != HEIGHT || index >= FRAMES) {
        r->frame_count = -1000;
        return;
    }
    memcpy(r->frames + (size_t)index * bytes, rgb, bytes);
    r->frame_count++;
}

static inline void test_open(test_run *r, const char *model, const char *const *settings)
{
    *r = (test_run){.params = test_params(model, settings)};
    r->frames = calloc(FRAMES, (size_t)WIDTH * HEIGHT * 3);
    assert_non_null(r->frames);
    swan_callbacks callbacks = {.user = r, .progress = test_progress, .log = test_log, .frame = test_frame};
    assert_ok(swan_engine_open(r->params, NULL, &r->engine));
    assert_ok(swan_session_open(r->engine, r->params, &callbacks, &r->session));
}

static inline void test_close(test_run *r)
{
    swan_session_close(r->session);
    swan_engine_close(r->engine);
    swan_params_free(r->params);
    free(r->frames);
}

/* Forgets what an earlier run showed. */
static inline void test_again(test_run *r)
{
    r->frame_count = r->reports = r->warnings = 0;
    memset(r->frames, 0, (size_t)FRAMES * WIDTH * HEIGHT * 3);
    r->session->ctx.counters = (swan_counters){0};
    r->session->activations.peak = 0;
    r->last = (swan_progress){0};
}

static inline swan_report test_generate(test_run *r, const char *prompt, int64_t seed)
{
    swan_report report;
    test_again(r);
    assert_ok(swan_session_generate(r->session, prompt, seed, &report));
    assert_int_equal(r->frame_count, FRAMES);
    assert_int_equal(r->last.phase, SWAN_PHASE_DONE);
    assert_true(r->last.fraction == 1);
    return report;
}

/* A prompt that makes as many tokens as any can. */
static inline char *test_long_prompt(void)
{
    enum { WORDS = 600 };
    char *text = malloc(WORDS * 6 + 1), *at = text;
    assert_non_null(text);
    for (int i = 0; i < WORDS; i++) at += sprintf(at, "%s ", i % 3 ? "fox" : "snow");
    return text;
}

#endif
