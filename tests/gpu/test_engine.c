/* The whole engine on a GPU: every stage beside the exact path on the CPU, the same bits again and again, cancelling, running out of
 * memory, and the plan of the device's memory. */
#include "gpu.h"
/* after cmocka */
#include <pthread.h>
#include <time.h>

#include "../unit/scratch.h"
#include "pipe/usage.h"

static const char *const prompt = "a red fox walks through fresh snow";

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- parity, stage by stage ---- */

static void dump_run(const char *model, const char *const *settings, const char *directory)
{
    char dump[512];
    const char *with[16] = {0};
    int n = 0;
    snprintf(dump, sizeof dump, "dump=%s", directory);
    with[n++] = dump;
    for (const char *const *at = settings; *at; at++) with[n++] = *at;
    gpu_run r;
    gpu_open(&r, model, with);
    gpu_generate(&r, prompt, 7);
    gpu_close(&r);
}

/* Bounds on ||cpu - gpu|| / ||cpu||. exact: fp32 everywhere, in another order; 24 bits, and each stage begins with the one before.
 * bf16: 8 bits, rounded at the end of every kernel: some 60 of them lie between the noise and a velocity here, and
 * sqrt(60) 2^-9 = 0.015. The frames' mean is 0.5, so their relative distance is small. */
static void stages_agree(void **state)
{
    static const struct {
        const char *model, *name, *exact[8], *gpu[8];
        double text, velocity, latents, frames;
    } cases[] = {
        {"tiny", "dense exact", {"device=cpu", "exact=true"}, {"device=cuda", "exact=true"}, 1e-5, 1e-5, 2e-5, 1e-5},
        {"fasttiny", "sparse exact", {"device=cpu", "exact=true", "vsa_sparsity=0.5"}, {"device=cuda", "exact=true", "vsa_sparsity=0.5"}, 1e-5, 1e-5, 2e-5, 1e-5},
        {"tiny", "guided exact", {"device=cpu", "exact=true", "sampler=unipc", "guidance_scale=4"},
         {"device=cuda", "exact=true", "sampler=unipc", "guidance_scale=4"}, 1e-5, 5e-5, 5e-5, 1e-5},
        {"tiny", "dense bf16", {"device=cpu", "exact=true"}, {"device=cuda"}, 0.02, 0.03, 0.02, 0.003},
        /* all tiles: which ones are chosen hangs on the last bit of a score */
        {"fasttiny", "gated bf16", {"device=cpu", "exact=true", "vsa_sparsity=0"}, {"device=cuda", "vsa_sparsity=0"}, 0.02, 0.03, 0.02, 0.003},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char cpu[300], gpu[300];
        snprintf(cpu, sizeof cpu, "%s/cpu%zu", (const char *)*state, i);
        snprintf(gpu, sizeof gpu, "%s/gpu%zu", (const char *)*state, i);
        dump_run(cases[i].model, cases[i].exact, cpu);
        dump_run(cases[i].model, cases[i].gpu, gpu);
        const struct {
            const char *name;
            double bound;
        } stages[] = {{"noise", 0},
                      {"context", cases[i].text},
                      {"velocity_0", cases[i].velocity},
                      {"x0_0", cases[i].velocity},
                      {"velocity_2", 2 * cases[i].velocity}, /* of a sample that differs already */
                      {"latents", cases[i].latents},
                      {"frames", cases[i].frames}};
        for (size_t k = 0; k < sizeof stages / sizeof stages[0]; k++) {
            double distance = gpu_distance(cpu, gpu, stages[k].name);
            print_message("  %-13s %-10s %.2e of %.1e\n", cases[i].name, stages[k].name, distance, stages[k].bound);
            assert_true(distance <= stages[k].bound);
        }
    }
}

/* ---- the same bits ---- */

static void expect_same(const gpu_run *a, const uint8_t *frames) { assert_memory_equal(a->frames, frames, (size_t)FRAMES * FRAME_BYTES); }

static void same_seed_same_frames(void **state)
{
    (void)state;
    static const char *const models[] = {"tiny", "fasttiny"};
    for (int m = 0; m < 2; m++) {
        uint8_t *first = malloc((size_t)FRAMES * FRAME_BYTES);
        assert_non_null(first);
        gpu_run r;
        gpu_open(&r, models[m], (const char *const[]){"device=cuda", NULL});
        assert_true(r.session->segments.captured);
        gpu_generate(&r, prompt, 7);
        memcpy(first, r.frames, (size_t)FRAMES * FRAME_BYTES);
        gpu_generate(&r, "something else entirely, and longer than before", 8); /* another number of text rows */
        assert_memory_not_equal(r.frames, first, (size_t)FRAMES * FRAME_BYTES);
        gpu_generate(&r, prompt, 7); /* the graphs again */
        expect_same(&r, first);
        gpu_close(&r);
        gpu_open(&r, models[m], (const char *const[]){"device=cuda", NULL}); /* a new engine */
        gpu_generate(&r, prompt, 7);
        expect_same(&r, first);
        gpu_close(&r);
        gpu_open(&r, models[m], (const char *const[]){"device=cuda", "graphs=off", "threads=1", NULL}); /* kernel by kernel */
        assert_false(r.session->segments.captured);
        gpu_generate(&r, prompt, 7);
        expect_same(&r, first);
        gpu_close(&r);
        free(first);
    }
}

/* ---- cancelling ---- */

typedef struct canceller {
    swan_session *session;
    double after_s, asked_s;
} canceller;

static void *cancel_later(void *arg)
{
    canceller *c = arg;
    struct timespec wait = {.tv_sec = (time_t)c->after_s, .tv_nsec = (long)((c->after_s - floor(c->after_s)) * 1e9)};
    nanosleep(&wait, NULL);
    c->asked_s = now_s();
    swan_session_cancel(c->session);
    return NULL;
}

/* Many steps of a large video, so that there is something to stop: within 100 ms, and nothing is left of it. */
static void cancel_is_quick(void **state)
{
    (void)state;
    gpu_run r;
    assert_ok(gpu_open_engine(&r, "tiny", (const char *const[]){"device=cuda", NULL}));
    assert_ok(swan_params_set(r.params, "size", "1280x720"));
    assert_ok(swan_params_set(r.params, "num_frames", "81"));
    assert_ok(swan_params_set(r.params, "num_inference_steps", "100"));
    assert_ok(swan_params_set(r.params, "sampler", "euler"));
    assert_ok(swan_session_open(r.engine, r.params, NULL, &r.session));
    for (int i = 0; i < 3; i++) {
        canceller c = {.session = r.session, .after_s = 0.05 + 0.1 * i};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, cancel_later, &c), 0);
        assert_int_equal(gpu_try(&r, prompt, 1, NULL), SWAN_E_CANCELLED);
        double took = now_s();
        pthread_join(thread, NULL);
        took -= c.asked_s;
        print_message("  cancelled in %.1f ms\n", took * 1e3);
        assert_true(took < 0.1);
    }
    swan_session_close(r.session);
    assert_ok(swan_params_set(r.params, "size", "160x96"));
    assert_ok(swan_params_set(r.params, "num_frames", "9"));
    assert_ok(swan_params_set(r.params, "num_inference_steps", "3"));
    assert_ok(swan_params_set(r.params, "sampler", "dmd"));
    swan_callbacks callbacks = {.user = &r, .frame = gpu_frame};
    assert_ok(swan_session_open(r.engine, r.params, &callbacks, &r.session)); /* the engine is as good as new */
    gpu_generate(&r, prompt, 1);
    gpu_close(&r);
}

/* ---- memory ---- */

/* More than any GPU has: one clear error, and the engine goes on. */
static void too_large_is_refused(void **state)
{
    (void)state;
    gpu_run r;
    gpu_open(&r, "tiny", (const char *const[]){"device=cuda", NULL});
    gpu_generate(&r, prompt, 5);
    uint8_t *first = malloc((size_t)FRAMES * FRAME_BYTES);
    assert_non_null(first);
    memcpy(first, r.frames, (size_t)FRAMES * FRAME_BYTES);
    uint64_t before = swan_usage_device(r.engine);
    assert_ok(swan_params_set(r.params, "size", "8192x8192"));
    assert_ok(swan_params_set(r.params, "num_frames", "2001"));
    swan_session *s;
    assert_int_equal(swan_session_open(r.engine, r.params, NULL, &s), SWAN_E_NOMEM);
    assert_null(s);
    print_message("  %s\n", swan_last_error());
    assert_non_null(strstr(swan_last_error(), "MiB"));
    assert_non_null(strstr(swan_last_error(), r.engine->device.info.name));
    assert_int_equal(swan_usage_device(r.engine), before); /* nothing was kept */
    gpu_generate(&r, prompt, 5);
    expect_same(&r, first);
    free(first);
    gpu_close(&r);
}

static void device_memory_is_planned(void **state)
{
    (void)state;
    static const char *const models[] = {"tiny", "fasttiny"};
    for (int m = 0; m < 2; m++) {
        gpu_run r;
        swan_plan plan;
        gpu_open(&r, models[m], (const char *const[]){"device=cuda", NULL});
        assert_ok(swan_engine_plan(r.engine, r.params, &plan));
        swan_report report = gpu_generate(&r, prompt, 1);
        assert_int_equal(report.device_bytes, plan.device_bytes); /* ours: exactly */
        assert_int_equal(report.device_base_bytes, plan.device_base_bytes);
        double ratio = (double)plan.device_peak_bytes / (double)report.device_peak_bytes;
        print_message("  %-8s ours %llu, before %llu, planned %llu, peak %llu (%+.2f %%)\n", models[m], (unsigned long long)report.device_bytes,
                      (unsigned long long)report.device_base_bytes, (unsigned long long)plan.device_peak_bytes,
                      (unsigned long long)report.device_peak_bytes, 100 * (ratio - 1));
        assert_true(fabs(ratio - 1) < 0.05);
        swan_report again = gpu_generate(&r, "another prompt, of other words", 2);
        assert_int_equal(again.device_peak_bytes, report.device_peak_bytes); /* a request reserves nothing */
        gpu_close(&r);
    }
}

/* The text encoder on the device or passing through it: the same bits; and too little memory for either is refused. */
static void residency_changes_nothing(void **state)
{
    (void)state;
    uint8_t *first = malloc((size_t)FRAMES * FRAME_BYTES);
    assert_non_null(first);
    static const char *const modes[] = {"precision=auto", "precision=exact"};
    for (int m = 0; m < 2; m++) {
        gpu_run r;
        char vram[64];
        gpu_open(&r, "tiny", (const char *const[]){"device=cuda", modes[m], NULL});
        assert_false(r.engine->text_streamed);
        uint64_t ours = gpu_generate(&r, prompt, 7).device_bytes;
        memcpy(first, r.frames, (size_t)FRAMES * FRAME_BYTES);
        gpu_close(&r);
        snprintf(vram, sizeof vram, "vram=%llu", (unsigned long long)(ours - 1 + (640ull << 20))); /* a byte too little; engine.c's overhead */
        gpu_open(&r, "tiny", (const char *const[]){"device=cuda", modes[m], vram, NULL});
        assert_true(r.engine->text_streamed);
        for (int i = 0; i < 3; i++) {
            swan_report report = gpu_generate(&r, prompt, 7);
            expect_same(&r, first);
            assert_true(report.device_bytes < ours);
        }
        gpu_close(&r);
    }
    free(first);
    gpu_run r;
    assert_int_equal(gpu_open_engine(&r, "tiny", (const char *const[]){"device=cuda", "vram=641M", NULL}), SWAN_E_NOMEM);
    assert_non_null(strstr(swan_last_error(), "with the text encoder streamed"));
    swan_plan plan;
    assert_ok(swan_plan_model(r.params, NULL, &plan)); /* what it would take can be known */
    assert_true(plan.device_bytes > 1 << 20);
    gpu_close(&r);
}

int main(void)
{
    if (!gpu_is_there()) {
        printf("skipped: no GPU that this build has kernels for\n");
        return SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(stages_agree, scratch_open, scratch_close),
        cmocka_unit_test(same_seed_same_frames),
        cmocka_unit_test(cancel_is_quick),
        cmocka_unit_test(too_large_is_refused),
        cmocka_unit_test(device_memory_is_planned),
        cmocka_unit_test(residency_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
