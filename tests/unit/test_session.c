/* Sessions: what the plan says is what a run takes; a seed is a video; cancelling and failing leave nothing behind. */
#include <pthread.h>
#include <time.h>

#include "session.h"
/* after cmocka */
#include "scratch.h"

static const char *const prompt = "a red fox walks through fresh snow";

/* ---- the plan ---- */

/* The plan of phases for a prompt of n tokens, from the session itself. */
static swan_plan measure(struct swan_session *s, int64_t n)
{
    swan_plan plan;
    struct swan_session *kept = malloc(sizeof *kept);
    assert_non_null(kept);
    memcpy(kept, s, sizeof *s); /* measuring lays the state out in an arena without memory */
    assert_ok(swan_session_measure(s, n, &plan));
    memcpy(s, kept, sizeof *s);
    free(kept);
    return plan;
}

static void expect_planned(const test_run *r, const swan_plan *plan, const char *what)
{
    for (int i = 0; i < SWAN_PLAN_PHASES; i++) {
        const swan_plan_phase *p = &plan->phase[i];
        const test_phase *got = &r->phase[i];
        print_message("  %-10s %-8s peak %9zu of %9llu, launches %llu, GFLOP %.4f\n", what, p->name, got->peak,
                      (unsigned long long)p->activation_bytes, (unsigned long long)got->counters.launches, got->counters.flops / 1e9);
        assert_int_equal(got->counters.launches, p->launches);
        assert_true(got->counters.flops == p->flops);
        assert_true(got->counters.bytes == p->bytes);
        assert_int_equal(got->peak, p->activation_bytes);
    }
}

static void planned_is_measured(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        const char *settings[6];
    } cases[] = {
        {"wan-tiny", {NULL}}, /* UniPC, with guidance */
        {"wan-tiny", {"sampler=euler", "guidance_scale=1", "exact=true", NULL}},
        {"fastwan-tiny", {"vsa_sparsity=0.5", NULL}},
        {"fastwan-tiny", {"attention=dense", "parity_bf16=true", NULL}},
        {"wan-tiny", {"kernels=attn.dense=ref,linear.f32=ref,conv.conv3x3=ref", "threads=1", NULL}},
    };
    char *longest = test_long_prompt();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_run r;
        swan_plan whole;
        test_open(&r, cases[i].model, cases[i].settings);
        assert_ok(swan_engine_plan(r.engine, r.params, &whole));
        const char *const texts[] = {"", prompt, longest};
        for (int k = 0; k < 3; k++) {
            int32_t ids[SWAN_TEXT_TOKENS];
            int n;
            assert_ok(swan_session_tokenize(r.engine, texts[k], ids, &n));
            assert_true(k == 0 ? n == 1 : k == 1 ? n > 8 && n < 40 : n == SWAN_TEXT_TOKENS);
            swan_plan plan = measure(r.session, n);
            r.session->params->negative_prompt = (char *)(uintptr_t)texts[k]; /* as long as the prompt: as the plan takes it */
            swan_report report = test_generate(&r, texts[k], 3);
            r.session->params->negative_prompt = NULL;
            expect_planned(&r, &plan, cases[i].model);
            assert_int_equal(report.session_bytes, whole.session_bytes);
            assert_int_equal(r.session->state_arena.peak, whole.state_bytes);
            for (int p = 0; p < SWAN_PLAN_PHASES; p++) {
                assert_true(r.phase[p].peak <= whole.phase[p].activation_bytes);
                if (k == 2) assert_int_equal(r.phase[p].peak, whole.phase[p].activation_bytes);
            }
        }
        test_close(&r);
    }
    free(longest);
}

/* Every length of a prompt fits what was reserved for the longest. */
static void any_prompt_fits(void **state)
{
    (void)state;
    test_run r;
    swan_plan whole;
    test_open(&r, "wan-tiny", NULL);
    assert_ok(swan_engine_plan(r.engine, r.params, &whole));
    for (int64_t n = 1; n <= SWAN_TEXT_TOKENS; n++) {
        swan_plan plan = measure(r.session, n);
        for (int p = 0; p < SWAN_PLAN_PHASES; p++) assert_true(plan.phase[p].activation_bytes <= whole.phase[p].activation_bytes);
        assert_true(plan.session_bytes <= whole.session_bytes);
    }
    test_close(&r);
}

/* Without loading anything the plan is the same, but for what the process had before. */
static void plan_without_loading(void **state)
{
    (void)state;
    static const char *const models[] = {"wan-tiny", "fastwan-tiny"};
    for (int i = 0; i < 2; i++) {
        swan_params *p = test_params(models[i], (const char *const[]){"prompt=a red fox", NULL});
        swan_engine *e;
        swan_plan loaded, planned;
        assert_ok(swan_plan_model(p, NULL, &planned));
        assert_ok(swan_engine_open(p, NULL, &e));
        assert_ok(swan_engine_plan(e, p, &loaded));
        assert_int_equal(planned.prompt_tokens, loaded.prompt_tokens);
        assert_int_equal(planned.mapped_bytes, loaded.mapped_bytes);
        assert_true(planned.arena_bytes > 0 && planned.arena_bytes <= loaded.arena_bytes); /* blocks are rounded up */
        assert_true(loaded.arena_bytes - planned.arena_bytes < 256);
        assert_int_equal(planned.session_bytes, loaded.session_bytes);
        for (int k = 0; k < SWAN_PLAN_PHASES; k++) {
            assert_int_equal(planned.phase[k].weight_bytes, loaded.phase[k].weight_bytes);
            assert_int_equal(planned.phase[k].activation_bytes, loaded.phase[k].activation_bytes);
            assert_true(planned.phase[k].flops == loaded.phase[k].flops);
        }
        swan_engine_close(e);
        assert_ok(swan_params_set(p, "size", "100x100"));
        assert_int_equal(swan_plan_model(p, NULL, &planned), SWAN_E_INVALID);
        assert_ok(swan_params_set(p, "model", "nowhere"));
        assert_int_equal(swan_plan_model(p, NULL, &planned), SWAN_E_NOT_FOUND);
        swan_params_free(p);
    }
}

static void plan_without_decoder(void **state)
{
    (void)state;
    swan_params *p = test_params("wan-tiny", NULL);
    swan_engine *e;
    swan_session *s;
    swan_plan plan;
    free(p->taehv);
    p->taehv = NULL;
    assert_ok(swan_engine_open(p, NULL, &e));
    assert_ok(swan_engine_plan(e, p, &plan));
    assert_int_equal(plan.phase_count, 2);
    assert_int_equal(swan_session_open(e, p, NULL, &s), SWAN_E_NOT_FOUND);
    assert_null(s);
    static const char *const says[] = {MODELS "wan-tiny", "taew2_1.safetensors", "--taehv", "github.com/madebyollin/taehv", "ec1a2be4"};
    for (size_t i = 0; i < sizeof says / sizeof says[0]; i++) assert_non_null(strstr(swan_last_error(), says[i]));
    swan_engine_close(e);
    swan_params_free(p);
}

/* ---- a seed is a video ---- */

static void same_seed_same_frames(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        const char *settings[4];
    } cases[] = {{"wan-tiny", {NULL}}, {"wan-tiny", {"threads=1", NULL}}, {"fastwan-tiny", {NULL}}, {"fastwan-tiny", {"threads=1", NULL}}};
    size_t bytes = (size_t)FRAMES * WIDTH * HEIGHT * 3;
    uint8_t *first[4];
    for (int i = 0; i < 4; i++) {
        test_run r;
        test_open(&r, cases[i].model, cases[i].settings);
        test_generate(&r, prompt, 7);
        first[i] = malloc(bytes);
        assert_non_null(first[i]);
        memcpy(first[i], r.frames, bytes);
        test_generate(&r, "something else entirely, and longer", 8);
        assert_memory_not_equal(r.frames, first[i], bytes);
        test_generate(&r, prompt, 8);
        assert_memory_not_equal(r.frames, first[i], bytes);
        test_generate(&r, prompt, 7); /* nothing of the two before is left */
        assert_memory_equal(r.frames, first[i], bytes);
        test_close(&r);
        test_open(&r, cases[i].model, cases[i].settings); /* a new engine and session */
        test_generate(&r, prompt, 7);
        assert_memory_equal(r.frames, first[i], bytes);
        test_close(&r);
    }
    assert_memory_equal(first[0], first[1], bytes); /* two threads and one */
    assert_memory_equal(first[2], first[3], bytes);
    assert_memory_not_equal(first[0], first[2], bytes);
    for (int i = 0; i < 4; i++) free(first[i]);
}

static void random_seed_is_reported(void **state)
{
    (void)state;
    test_run r;
    test_open(&r, "wan-tiny", NULL);
    swan_report a = test_generate(&r, prompt, -1), b = test_generate(&r, prompt, -1);
    assert_int_not_equal(a.seed, b.seed); /* one run in 2^32 fails here */
    size_t bytes = (size_t)FRAMES * WIDTH * HEIGHT * 3;
    uint8_t *frames = malloc(bytes);
    assert_non_null(frames);
    memcpy(frames, r.frames, bytes);
    test_generate(&r, prompt, (int64_t)b.seed);
    assert_memory_equal(r.frames, frames, bytes);
    free(frames);
    swan_report report;
    assert_int_equal(swan_session_generate(r.session, prompt, 4294967296, &report), SWAN_E_INVALID);
    assert_string_equal(swan_last_error(), "seed: wanted 0 to 4294967295, found 4294967296");
    test_close(&r);
}

static void report_and_callbacks(void **state)
{
    (void)state;
    test_run r;
    test_open(&r, "wan-tiny", NULL);
    swan_report report = test_generate(&r, prompt, 1);
    assert_int_equal(report.width, WIDTH);
    assert_int_equal(report.height, HEIGHT);
    assert_int_equal(report.frames, FRAMES);
    assert_int_equal(report.steps, STEPS);
    assert_int_equal(report.seed, 1);
    assert_int_equal(report.output_bytes, 0); /* no file was asked for */
    assert_true(report.text_s > 0 && report.denoise_s > 0 && report.decode_s > 0);
    assert_true(report.total_s >= report.text_s + report.denoise_s + report.decode_s - 1e-6);
    assert_true(report.process_peak_bytes > report.session_bytes);
    assert_int_equal(r.reports, 1 + STEPS + 1 + FRAMES + 1); /* text, each step, decode and each frame, done */
    test_again(&r);
    assert_ok(swan_session_generate(r.session, prompt, 1, NULL)); /* no report wanted */
    test_close(&r);
}

/* A preview after each step, which takes nothing from the video. */
typedef struct previews {
    test_run *run;
    int count;
    uint64_t sum;
} previews;

static void on_preview(void *user, int step, int width, int height, const uint8_t *rgb)
{
    previews *p = user;
    assert_int_equal(step, p->count++);
    assert_int_equal(width, WIDTH);
    assert_int_equal(height, HEIGHT);
    for (int i = 0; i < width * height * 3; i++) p->sum += rgb[i];
}

static bool forward_progress(void *user, const swan_progress *p) { return test_progress(((previews *)user)->run, p); }

static void forward_frame(void *user, int index, int width, int height, const uint8_t *rgb)
{
    test_frame(((previews *)user)->run, index, width, height, rgb);
}

static void previews_change_nothing(void **state)
{
    (void)state;
    static const char *const models[] = {"wan-tiny", "fastwan-tiny"};
    size_t bytes = (size_t)FRAMES * WIDTH * HEIGHT * 3;
    for (int i = 0; i < 2; i++) {
        test_run r;
        test_open(&r, models[i], NULL);
        test_generate(&r, prompt, 5);
        uint8_t *frames = malloc(bytes);
        assert_non_null(frames);
        memcpy(frames, r.frames, bytes);
        previews p = {.run = &r};
        r.session->callbacks = (swan_callbacks){.user = &p, .progress = forward_progress, .frame = forward_frame, .preview = on_preview};
        test_generate(&r, prompt, 5);
        assert_int_equal(p.count, STEPS);
        assert_true(p.sum > 0);
        assert_memory_equal(r.frames, frames, bytes);
        free(frames);
        test_close(&r);
    }
}

/* --trace: a line for every launch of the plan, and the same video. */
static void a_trace_has_every_call(void **state)
{
    const char *path = scratch_path(*state, "calls.tsv");
    test_run r;
    test_open(&r, "wan-tiny", NULL);
    test_generate(&r, prompt, 5);
    size_t bytes = (size_t)FRAMES * WIDTH * HEIGHT * 3;
    uint8_t *frames = malloc(bytes);
    assert_non_null(frames);
    memcpy(frames, r.frames, bytes);
    assert_ok(swan_params_set(r.session->params, "trace", path));
    test_generate(&r, prompt, 5);
    assert_memory_equal(r.frames, frames, bytes);
    uint64_t launches = 0, lines = 0;
    for (int i = 0; i < SWAN_PLAN_PHASES; i++) launches += r.phase[i].counters.launches;
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (int c; (c = fgetc(f)) != EOF;) lines += c == '\n';
    fclose(f);
    assert_int_equal(lines, launches + 1); /* and the names of the columns */
    free(frames);
    test_close(&r);
}

/* Neither file nor callback: the work is done all the same (what bench measures). */
static void no_output_at_all(void **state)
{
    (void)state;
    swan_params *p = test_params("wan-tiny", NULL);
    swan_engine *e;
    swan_session *s;
    swan_report report;
    assert_ok(swan_engine_open(p, NULL, &e));
    assert_ok(swan_session_open(e, p, NULL, &s));
    assert_ok(swan_session_generate(s, NULL, 1, &report)); /* no prompt anywhere: the empty one */
    assert_true(report.decode_s > 0);
    swan_session_close(s);
    swan_engine_close(e);
    swan_params_free(p);
}

/* ---- cancelling ---- */

static void cancel_in_every_phase(void **state)
{
    static const struct {
        swan_phase phase;
        int step;
    } points[] = {{SWAN_PHASE_TEXT, 0}, {SWAN_PHASE_DENOISE, 0}, {SWAN_PHASE_DENOISE, 1}, {SWAN_PHASE_DECODE, 0},
                  {SWAN_PHASE_DECODE, 1}, {SWAN_PHASE_DECODE, FRAMES - 1}, {SWAN_PHASE_DECODE, FRAMES}};
    char output[600];
    snprintf(output, sizeof output, "output=%s", scratch_path(*state, "out.mp4"));
    const char *const settings[] = {output, NULL};
    size_t bytes = (size_t)FRAMES * WIDTH * HEIGHT * 3;
    test_run r;
    test_open(&r, "wan-tiny", settings);
    swan_report report = test_generate(&r, prompt, 5);
    assert_true(report.output_bytes > 1000);
    assert_int_equal(scratch_count(*state), 1);
    assert_int_equal(unlink(output + strlen("output=")), 0);
    uint8_t *frames = malloc(bytes);
    assert_non_null(frames);
    memcpy(frames, r.frames, bytes);
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        test_again(&r);
        r.cancels = true;
        r.cancel_phase = points[i].phase;
        r.cancel_step = points[i].step;
        assert_int_equal(swan_session_generate(r.session, prompt, 5, &report), SWAN_E_CANCELLED);
        assert_string_equal(swan_last_error(), "cancelled");
        assert_int_equal(r.last.phase, points[i].phase);
        assert_int_equal(r.last.step, points[i].step);
        assert_int_equal(scratch_count(*state), 0);
        r.cancels = false;
        test_generate(&r, prompt, 5); /* as if nothing had been */
        assert_memory_equal(r.frames, frames, bytes);
        assert_int_equal(scratch_count(*state), 1);
        assert_int_equal(unlink(output + strlen("output=")), 0);
    }
    /* after the last frame is written there is nothing to stop: the file is whole and the run a success */
    r.cancels = true;
    r.cancel_phase = SWAN_PHASE_DONE;
    r.cancel_step = FRAMES;
    test_generate(&r, prompt, 5);
    assert_int_equal(scratch_count(*state), 1);
    free(frames);
    test_close(&r);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct canceller {
    test_run *run;
    double asked_s;
} canceller;

static void *cancel_denoising(void *arg)
{
    canceller *c = arg;
    do nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    while (atomic_load(&c->run->phase_now) != SWAN_PHASE_DENOISE);
    c->asked_s = now_s();
    swan_session_cancel(c->run->session);
    return NULL;
}

/* From another thread, in the middle of the work. */
static void cancel_from_outside(void **state)
{
    (void)state;
    const char *const settings[] = {"num_inference_steps=1000", NULL};
    test_run r;
    pthread_t thread;
    test_open(&r, "wan-tiny", settings);
    canceller c = {.run = &r};
    assert_int_equal(pthread_create(&thread, NULL, cancel_denoising, &c), 0);
    assert_int_equal(swan_session_generate(r.session, prompt, 5, NULL), SWAN_E_CANCELLED);
    double ended_s = now_s();
    pthread_join(thread, NULL);
    assert_true(ended_s - c.asked_s < 1);
    assert_int_equal(r.last.phase, SWAN_PHASE_DENOISE);
    assert_true(r.last.step < 999);
    test_close(&r);
}

/* ---- failing ---- */

static void failures_leave_the_session_usable(void **state)
{
    const char *good = scratch_path(*state, "good.mp4"), *text = scratch_write(*state, "noise.npy", "not numpy", 9);
    test_run r;
    test_open(&r, "wan-tiny", NULL);
    struct swan_params *p = r.session->params;
    static const struct {
        const char *key, *value, *says;
        swan_status status;
    } cases[] = {
        {"output", "/not/there/x.mp4", "/not/there/x.mp4", SWAN_E_NOT_FOUND},
        {"output", "x.gif", "x.gif: cannot write this kind of file; supported: .mp4", SWAN_E_INVALID},
        {"output", "x", "x: cannot write this kind of file", SWAN_E_INVALID},
        {"dump", "/not/there/x", "/not/there/x: cannot make the directory", SWAN_E_IO},
        {"trace", "/not/there/x.tsv", "/not/there/x.tsv: cannot be written", SWAN_E_IO},
        {"noise", "/not/there/n.npy", "/not/there/n.npy", SWAN_E_NOT_FOUND},
        {"noise", NULL, "noise.npy", SWAN_E_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char kept[512];
        snprintf(kept, sizeof kept, "%s", swan_params_get(p, cases[i].key));
        assert_ok(swan_params_set(p, cases[i].key, cases[i].value ? cases[i].value : text));
        test_again(&r);
        swan_status status = swan_session_generate(r.session, prompt, 5, NULL);
        if (status != cases[i].status || !strstr(swan_last_error(), cases[i].says))
            fail_msg("%s=%s: %s: %s", cases[i].key, cases[i].value, swan_status_name(status), swan_last_error());
        char **const members[] = {&p->output, &p->dump, &p->trace, &p->noise};
        char **member = members[!strcmp(cases[i].key, "output") ? 0 : !strcmp(cases[i].key, "dump") ? 1 : !strcmp(cases[i].key, "trace") ? 2 : 3];
        free(*member);
        *member = NULL;
    }
    test_again(&r);
    assert_int_equal(swan_session_generate(r.session, "bad \xFF utf-8", 5, NULL), SWAN_E_INVALID);
    assert_ok(swan_params_set(p, "output", good));
    test_generate(&r, prompt, 5);
    assert_int_equal(scratch_count(*state), 2);
    test_close(&r);
}

/* A session opened with settings that cannot be. */
static void refused_settings(void **state)
{
    (void)state;
    static const struct {
        const char *model, *settings[3], *says;
    } cases[] = {
        {"wan-tiny", {"size=60x48", NULL}, "size: wanted multiples of 16, found 60x48; the nearest is 64x48"},
        {"wan-tiny", {"size=16x1000", NULL}, "size: wanted multiples of 16, found 16x1000; the nearest is 16x1008"},
        {"wan-tiny", {"size=16384x16384", "num_frames=4097", NULL}, "more than any attention here can hold"},
        {"wan-tiny", {"attention=vsa", NULL}, "to_gate_compress"},
        {"fastwan-tiny", {"attention=dense", "vsa_sparsity=0.3", NULL}, "contradict"},
        {"fastwan-tiny", {"sampler=dmd", "sigma_grid=fastvideo", NULL}, "grid"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        swan_params *p = test_params(cases[i].model, cases[i].settings);
        swan_engine *e;
        swan_session *s;
        swan_plan plan;
        assert_ok(swan_engine_open(p, NULL, &e));
        assert_int_equal(swan_session_open(e, p, NULL, &s), SWAN_E_INVALID);
        if (!strstr(swan_last_error(), cases[i].says)) fail_msg("\"%s\" does not say \"%s\"", swan_last_error(), cases[i].says);
        assert_int_equal(swan_engine_plan(e, p, &plan), SWAN_E_INVALID);
        swan_engine_close(e);
        swan_params_free(p);
    }
}

static void frames_are_adjusted_aloud(void **state)
{
    (void)state;
    static const int asked[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 80, 82, 4097}, made[] = {1, 1, 1, 5, 5, 5, 5, 9, 9, 81, 81, 4097};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        test_run r = {0};
        swan_callbacks callbacks = {.user = &r, .log = test_log};
        swan_recipe recipe = {.width = 64, .height = 48, .frames = asked[i], .fps = 16};
        swan_geometry_sizes size;
        assert_ok(swan_session_sizes(&recipe, &callbacks, &size));
        assert_int_equal(size.frames, made[i]);
        assert_int_equal(r.warnings, asked[i] != made[i]);
        char text[64];
        snprintf(text, sizeof text, "num_frames: %d is not 4n+1; making %d frames", asked[i], made[i]);
        if (r.warnings) assert_string_equal(r.log, text);
    }
}

int main(void)
{
#define SCRATCH(f) cmocka_unit_test_setup_teardown(f, scratch_open, scratch_close)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planned_is_measured),
        cmocka_unit_test(any_prompt_fits),
        cmocka_unit_test(plan_without_loading), cmocka_unit_test(plan_without_decoder),
        cmocka_unit_test(same_seed_same_frames),
        cmocka_unit_test(random_seed_is_reported),
        cmocka_unit_test(report_and_callbacks),
        cmocka_unit_test(previews_change_nothing),
        SCRATCH(a_trace_has_every_call),
        cmocka_unit_test(no_output_at_all),
        SCRATCH(cancel_in_every_phase),
        cmocka_unit_test(cancel_from_outside),
        SCRATCH(failures_leave_the_session_usable),
        cmocka_unit_test(refused_settings),
        cmocka_unit_test(frames_are_adjusted_aloud),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
