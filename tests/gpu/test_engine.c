/* The whole engine on a GPU: every stage beside the exact path on the CPU, the same bits again and again, cancelling, running out of
 * memory, and the plan of the device's memory. */
#include "gpu.h"
/* after cmocka */
#include <pthread.h>
#include <time.h>
#include <unistd.h>

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

/* engine.c's overhead. */
static uint64_t vram_of(uint64_t ours) { return ours + (640ull << 20); }

static uint64_t bus_bytes(const swan_session *s)
{
    uint64_t bytes = 0;
    for (int p = 0; p < SWAN_PARTS; p++) bytes += s->away[p].copied;
    return bytes;
}

/* Weights and session at least, as the refusal says it: in MiB. */
static uint64_t least_bytes(const char *const *settings)
{
    gpu_run r;
    const char *with[8] = {"vram=641M"};
    for (int i = 0; settings[i]; i++) with[i + 1] = settings[i];
    assert_int_equal(gpu_open_engine(&r, "deeptiny", with), SWAN_E_NOMEM);
    const char *at = strstr(swan_last_error(), "wanted at least ");
    assert_non_null(at);
    uint64_t mib = strtoull(at + strlen("wanted at least "), NULL, 10) - 640;
    swan_plan plan;
    assert_ok(swan_plan_model(r.params, NULL, &plan)); /* what it would take can be known */
    assert_int_equal((plan.device_bytes + 0xFFFFF) >> 20, mib);
    gpu_close(&r);
    return mib << 20;
}

/* Resident or passing through the device, captured or not: the same bits, and what was planned to the byte; too little is refused. */
static void residency_changes_nothing(void **state)
{
    (void)state;
    uint8_t *first = malloc((size_t)FRAMES * FRAME_BYTES);
    assert_non_null(first);
    static const char *const modes[][4] = {
        {"device=cuda", NULL}, {"device=cuda", "exact=true", NULL}, {"device=cuda", "attention=dense", "graphs=off", NULL}};
    for (int m = 0; m < 3; m++) {
        gpu_run r;
        uint64_t least = least_bytes(modes[m]);
        gpu_open(&r, "deeptiny", modes[m]);
        assert_int_equal(r.engine->host_weights.size, 0);
        uint64_t ours = gpu_generate(&r, prompt, 7).device_bytes;
        memcpy(first, r.frames, (size_t)FRAMES * FRAME_BYTES);
        gpu_close(&r);
        const uint64_t allowed[] = {ours - 1, least + (ours - least) / 2, least}; /* a byte too little, some blocks away, all */
        for (int a = 0; a < 3; a++) {
            char vram[64];
            const char *with[8] = {vram};
            swan_plan plan;
            for (int i = 0; modes[m][i]; i++) with[i + 1] = modes[m][i];
            snprintf(vram, sizeof vram, "vram=%llu", (unsigned long long)vram_of(allowed[a]));
            gpu_open(&r, "deeptiny", with);
            assert_ok(swan_engine_plan(r.engine, r.params, &plan));
            assert_true(plan.host_weight_bytes > 0 && plan.device_bytes <= allowed[a]);
            assert_int_equal(plan.blocks_streamed > 0, a > 0);
            assert_int_equal(plan.blocks_streamed == plan.blocks, a == 2);
            for (int i = 0; i < 3; i++) {
                uint64_t before = bus_bytes(r.session);
                swan_report report = gpu_generate(&r, prompt, 7);
                expect_same(&r, first);
                assert_int_equal(report.device_bytes, plan.device_bytes);
                assert_int_equal(bus_bytes(r.session) - before, plan.prompt_bus_bytes + STEPS * plan.step_bus_bytes);
                double ratio = (double)plan.device_peak_bytes / (double)report.device_peak_bytes;
                if (i == 0)
                    print_message("  mode %d: %d of %d blocks, %d of %d text layers away; ours %llu, planned %llu, peak %llu (%+.2f %%)\n", m,
                                  plan.blocks_streamed, plan.blocks, plan.text_layers_streamed, plan.text_layers,
                                  (unsigned long long)report.device_bytes, (unsigned long long)plan.device_peak_bytes,
                                  (unsigned long long)report.device_peak_bytes, 100 * (ratio - 1));
                assert_true(fabs(ratio - 1) < 0.05);
                assert_true(report.device_peak_bytes <= vram_of(allowed[a])); /* what --vram promises */
            }
            gpu_close(&r);
        }
    }
    free(first);
}

/* The 1.3B in less and less memory, at a small size: the same frames, and no more memory than was allowed. */
static void a_real_model_in_little_memory(void **state)
{
    (void)state;
    swan_device_info list[SWAN_DEVICE_MAX];
    uint64_t host = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (swan_device_list(list) < 2 || list[1].memory_bytes < 18ull << 30 || host < 24ull << 30) {
        print_message("skipped: wanted a GPU of 18 GiB and a host of 24\n");
        skip();
    }
    static const char *const allowed[] = {"vram=20G", "vram=8G", "vram=4G", "vram=2G"};
    uint8_t *first = malloc((size_t)FRAMES * FRAME_BYTES);
    assert_non_null(first);
    for (int a = 0; a < 4; a++) {
        gpu_run r;
        swan_plan plan;
        gpu_open(&r, "wan2.1-1.3b", (const char *const[]){"device=cuda", allowed[a], NULL});
        assert_ok(swan_engine_plan(r.engine, r.params, &plan));
        swan_report report = gpu_generate(&r, prompt, 7);
        print_message("  %s: %d of %d blocks, %d of %d text layers away; peak %.2f GiB, planned %.2f\n", allowed[a], plan.blocks_streamed,
                      plan.blocks, plan.text_layers_streamed, plan.text_layers, (double)report.device_peak_bytes / 0x1p30,
                      (double)plan.device_peak_bytes / 0x1p30);
        if (a == 0) memcpy(first, r.frames, (size_t)FRAMES * FRAME_BYTES);
        expect_same(&r, first);
        assert_int_equal(report.device_bytes, plan.device_bytes);
        assert_int_equal(plan.host_weight_bytes > 0, a > 0);
        /* a block or two may go where that makes room for a layer of the text encoder, which is larger than they are in three steps */
        assert_true(a == 3 ? plan.blocks_streamed >= 20 : plan.blocks_streamed <= 4);
        assert_true(report.device_peak_bytes <= (uint64_t)r.params->vram);
        gpu_close(&r);
    }
    free(first);
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
        cmocka_unit_test(a_real_model_in_little_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
