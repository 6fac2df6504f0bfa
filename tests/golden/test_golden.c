/* Golden runs: two small models end to end from a noise file. The latents are within rounding of the stored ones, whatever the
 * kernels; the number of kernel calls and, on the portable rows, the bytes are pinned. It fails when a layer changes, a fusion is
 * lost, or memory grows: if that was the purpose, `golden --write` stores the new latents and prints the new numbers.
 *
 * That the latents are right is not shown here but by the comparison with the reference pipelines (tests/e2e/compare_dump.py). */
#include <math.h>

#include "../unit/session.h"
#include "ckpt/npy.h"

/* Two fp32 evaluations of 2 to 3 steps of a network of two blocks; each forward pass differs by up to 2e-6 (test_text_rows). */
#define BOUND 1e-5

#define DIRECTORY "tests/golden/data/"
#define PORTABLE                                                                                                       \
    "kernels=linear.f32=ref,linear.bf16=ref,norm.layer=ref,norm.rms=ref,attn.dense=ref,attn.block_sparse=ref,"        \
    "vsa.pool=ref,vsa.coarse=ref,vsa.combine=ref,embed.rows=ref,embed.timestep=ref,embed.patchify=ref,"               \
    "embed.unpatchify=ref,elem.combine=ref,elem.map=ref,conv.conv3x3=ref,image.from_latent=ref,image.to_rgb8=ref"

typedef struct golden {
    const char *name, *model;
    const char *settings[5];
    uint64_t launches[SWAN_PLAN_PHASES]; /* text, denoise, decode */
    uint64_t state_bytes, session_bytes; /* portable rows, one thread */
} golden;

static const golden cases[] = {
    {"wan", "wan-tiny", {"num_inference_steps=3", "guidance_scale=5", NULL}, {64, 233, 171}, 4451328, 5499904},
    {"fastwan", "fastwan-tiny", {"num_inference_steps=3", "vsa_sparsity=0.5", "size=144x80", NULL}, {32, 135, 171}, 2511744, 4619904},
};
enum { CASES = sizeof cases / sizeof cases[0] };

static const char *const prompt = "a red fox walks through fresh snow";
static bool write_mode;

/* Relative L2 between a latent and the stored one. */
static double from_stored(const char *path, const swan_tensor *latent)
{
    swan_tensor want;
    assert_ok(swan_npy_load(path, &want));
    assert_true(swan_tensor_same_shape(&want, latent));
    double d = 0, w = 0;
    const float *a = latent->data, *b = want.data;
    for (int64_t i = 0; i < swan_tensor_count(&want); i++) {
        d += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        w += (double)b[i] * (double)b[i];
    }
    free(want.data);
    return sqrt(d / w);
}

static void run_case(const golden *g, bool portable)
{
    const char *settings[8] = {0};
    char noise[256], latents[256], setting[300];
    int n = 0;
    while (g->settings[n]) settings[n] = g->settings[n], n++;
    snprintf(noise, sizeof noise, DIRECTORY "%s_noise.npy", g->name);
    snprintf(latents, sizeof latents, DIRECTORY "%s_latents.npy", g->name);
    snprintf(setting, sizeof setting, "noise=%s", noise);
    settings[n++] = setting;
    if (portable) {
        settings[n++] = PORTABLE;
        settings[n++] = "threads=1";
    }
    test_run r;
    swan_plan plan;
    swan_report report;
    test_open(&r, g->model, settings);
    r.session->callbacks.frame = NULL; /* its size is another than the helper's */
    assert_ok(swan_engine_plan(r.engine, r.params, &plan));
    swan_tensor *sample = &r.session->state.buffer[SWAN_SCHED_SAMPLE];
    if (write_mode && portable) { /* any noise will do, as long as it stays */
        swan_rng_seed(&r.session->rng, 2024);
        swan_rng_normal_f32(&r.session->rng, sample->data, (size_t)swan_tensor_count(sample));
        assert_ok(swan_npy_write(noise, sample));
    }
    test_again(&r);
    assert_ok(swan_session_generate(r.session, prompt, 1, &report));
    assert_int_equal(report.frames, FRAMES);
    assert_int_equal(r.reports, 1 + report.steps + 1 + FRAMES + 1);
    if (write_mode && portable) {
        assert_ok(swan_npy_write(latents, sample));
        print_message("%s: {%llu, %llu, %llu}, %llu, %llu\n", g->name, (unsigned long long)r.phase[0].counters.launches,
                      (unsigned long long)r.phase[1].counters.launches, (unsigned long long)r.phase[2].counters.launches,
                      (unsigned long long)plan.state_bytes, (unsigned long long)report.session_bytes);
        test_close(&r);
        return;
    }
    double distance = from_stored(latents, sample);
    print_message("  %-8s %-8s relative L2 %.2e (bound %.0e)\n", g->name, portable ? "portable" : "fast", distance, BOUND);
    assert_true(distance <= BOUND); /* false for a NaN */
    for (int i = 0; i < SWAN_PLAN_PHASES; i++) assert_int_equal(r.phase[i].counters.launches, g->launches[i]);
#ifndef SWAN_DEBUG_ARENA /* its red zones count */
    if (portable) {
        assert_int_equal(plan.state_bytes, g->state_bytes);
        assert_int_equal(report.session_bytes, g->session_bytes);
    }
#endif
    test_close(&r);
}

static void portable_rows(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) run_case(&cases[i], true);
}

static void picked_rows(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) run_case(&cases[i], false);
}

/* The bound sees a shift that is off by a thousandth, one bias that is off by a hundredth, and another prompt. */
static void mistakes_are_seen(void **state)
{
    (void)state;
    for (int mistake = 0; mistake < 3; mistake++) {
        const char *const settings[] = {"num_inference_steps=3", "guidance_scale=5", "noise=" DIRECTORY "wan_noise.npy",
                                        mistake == 0 ? "flow_shift=3.003" : NULL, NULL};
        test_run r;
        test_open(&r, "wan-tiny", settings);
        if (mistake == 1) ((float *)r.engine->dit.block[1].self.q.bias.data)[7] += 0.01f;
        assert_ok(swan_session_generate(r.session, mistake == 2 ? "a red fox walks through fresh snow." : prompt, 1, NULL));
        double distance = from_stored(DIRECTORY "wan_latents.npy", &r.session->state.buffer[SWAN_SCHED_SAMPLE]);
        print_message("  mistake %d: relative L2 %.2e\n", mistake, distance);
        assert_true(distance > 2 * BOUND);
        test_close(&r);
    }
}

int main(int argc, char **argv)
{
    write_mode = argc == 2 && strcmp(argv[1], "--write") == 0;
    const struct CMUnitTest tests[] = {cmocka_unit_test(portable_rows), cmocka_unit_test(picked_rows), cmocka_unit_test(mistakes_are_seen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
