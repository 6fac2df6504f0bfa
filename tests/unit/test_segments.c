/* The way a request takes on a GPU, over a fake one (fake_device.inc): what is captured, how often it is launched, how much is in
 * flight, who waits; cancelling, failing. What it computes equals what the same kernels compute one by one, to the bit. */
#include <math.h>

#include "fake_device.inc"

static const char *const prompt = "a red fox walks through fresh snow";

typedef struct run {
    test_run r;
    fake_engine kept;
} run;

/* What had been asked of the device when the first frame was. */
static fake_counts before_frames;

static bool watch_progress(void *user, const swan_progress *p)
{
    if (p->phase == SWAN_PHASE_DECODE && p->step == 0) before_frames = fake.count;
    return test_progress(user, p);
}

/* kernel_s: what each kernel takes, on the fake's clock. */
static void run_open(run *x, const char *model, const char *const *settings, double kernel_s, bool refuse_capture)
{
    test_run *r = &x->r;
    *r = (test_run){.params = test_params(model, settings)};
    r->frames = calloc(FRAMES, (size_t)WIDTH * HEIGHT * 3);
    assert_non_null(r->frames);
    swan_callbacks callbacks = {.user = r, .progress = watch_progress, .log = test_log, .frame = test_frame};
    assert_ok(swan_engine_open(r->params, NULL, &r->engine));
    fake_enter(r->engine, &x->kept);
    fake.kernel_s = kernel_s;
    fake.refuse_capture = refuse_capture;
    assert_ok(swan_session_open(r->engine, r->params, &callbacks, &r->session));
    fake.count = (fake_counts){.captures = fake.count.captures};
}

static void run_close(run *x)
{
    swan_session_close(x->r.session);
    fake_leave(x->r.engine, &x->kept);
    swan_engine_close(x->r.engine);
    swan_params_free(x->r.params);
    free(x->r.frames);
}

static size_t latent_bytes(const run *x) { return swan_tensor_bytes(&x->r.session->state.buffer[SWAN_SCHED_SAMPLE]); }

/* The clean latent of one request, from malloc. */
static float *latent_of(run *x, const char *text, int64_t seed)
{
    test_again(&x->r);
    assert_ok(swan_session_generate(x->r.session, text, seed, NULL));
    assert_int_equal(x->r.frame_count, FRAMES);
    float *z = malloc(latent_bytes(x));
    assert_non_null(z);
    memcpy(z, x->r.session->state.buffer[SWAN_SCHED_SAMPLE].data, latent_bytes(x));
    return z;
}

static double distance(const float *a, const float *b, size_t n)
{
    double d = 0, w = 0;
    for (size_t i = 0; i < n; i++) {
        d += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        w += (double)b[i] * (double)b[i];
    }
    return sqrt(d / w);
}

/* Settings of a case, with one more. */
static const char *const *with(const char *const *settings, const char *more)
{
    static const char *all[8];
    int n = 0;
    while (settings[n]) all[n] = settings[n], n++;
    all[n++] = more;
    all[n] = NULL;
    return all;
}

static const struct {
    const char *model;
    const char *settings[4];
} cases[] = {
    {"wan-tiny", {"guidance_scale=5", NULL}},                                     /* UniPC, two passes a step */
    {"wan-tiny", {"sampler=euler", "guidance_scale=1", "num_inference_steps=3", NULL}},
    {"fastwan-tiny", {"vsa_sparsity=0.5", "num_inference_steps=3", NULL}},       /* DMD: noise between steps */
    {"fastwan-tiny", {"attention=dense", NULL}},
};
enum { CASES = sizeof cases / sizeof cases[0] };

/* The latent of a fresh session; before: a request that comes first. */
static float *fresh_latent(int c, const char *way, const char *before, const char *text)
{
    run x;
    bool captured = strcmp(way, "graphs=on") == 0;
    run_open(&x, cases[c].model, with(cases[c].settings, way), captured ? 1e-6 : 3e-3, false); /* segments of another size */
    assert_int_equal(x.r.session->segments.captured, captured);
    if (before) free(latent_of(&x, before, 9));
    float *z = latent_of(&x, text, 3);
    assert_true((fake.count.graph_launches > 0) == captured);
    run_close(&x);
    return z;
}

/* Captured, not captured, and the host: the first two agree to the bit, for every prompt and whatever came before; the host,
 * which has no padding, to rounding. */
static void replay_is_exact(void **state)
{
    (void)state;
    char *longest = test_long_prompt();
    const char *const texts[] = {"", prompt, longest};
    for (int c = 0; c < CASES; c++)
        for (int t = 0; t < 3; t++) {
            test_run host;
            test_open(&host, cases[c].model, cases[c].settings);
            test_again(&host);
            assert_ok(swan_session_generate(host.session, texts[t], 3, NULL));
            const swan_tensor *z = &host.session->state.buffer[SWAN_SCHED_SAMPLE];
            float *replayed = fresh_latent(c, "graphs=on", NULL, texts[t]);
            float *later = fresh_latent(c, "graphs=on", texts[2 - t], texts[t]);
            float *launched = fresh_latent(c, "graphs=off", NULL, texts[t]);
            assert_memory_equal(replayed, launched, swan_tensor_bytes(z));
            assert_memory_equal(later, launched, swan_tensor_bytes(z));
            double d = distance(launched, z->data, (size_t)swan_tensor_count(z));
            print_message("  %-12s prompt %d: %.1e from the host\n", cases[c].model, t, d);
            assert_true(d < 1e-5); /* as the golden runs: two fp32 evaluations of a few steps */
            free(replayed);
            free(later);
            free(launched);
            test_close(&host);
        }
    free(longest);
}

/* Where a pass is cut: no segment is longer than the limit but for a part that is; nothing is left out; blocks stay whole where one
 * fits; a block that is away begins a segment. */
static void cut_where_it_should(void **state)
{
    (void)state;
    static const double parts[][SWAN_WAN_PARTS] = {{1e-6, 1e-6, 1e-6}, {0, 0, 0},          {8e-3, 2e-3, 4e-3}, {0.02, 3e-3, 8e-3},
                                                   {0.02, 3e-3, 0.01}, {0.047, 4e-3, 0.018}, {0.2, 0.01, 0.07}, {0.01, 0.03, 0.03}};
    static const int segments[] = {1, 1, 15, 30, 60, 60, 90, 90}; /* of 30 blocks that are all resident */
    const double limit = 0.032;
    int first[SWAN_SEGMENTS_MOST + 1];
    for (size_t c = 0; c < sizeof parts / sizeof parts[0]; c++) {
        const double *part = parts[c];
        bool fits = part[0] + part[1] + part[2] <= limit;
        assert_int_equal(swan_segments_cut(part, 30, 0, limit, first), segments[c]);
        for (int layers = 1; layers <= SWAN_WAN_MAX_LAYERS; layers += 9)
            for (int away = 0; away <= layers; away += 3) {
                int count = swan_segments_cut(part, layers, away, limit, first);
                assert_true(count >= 1 && count <= SWAN_SEGMENTS_MOST);
                assert_int_equal(first[0], 0);
                assert_int_equal(first[count], layers * SWAN_WAN_PARTS);
                for (int i = 0; i < count; i++) {
                    double seconds = 0;
                    assert_true(first[i] < first[i + 1]);
                    for (int n = first[i]; n < first[i + 1]; n++) {
                        bool begins = n % SWAN_WAN_PARTS == 0 && swan_weights_is_away(n / SWAN_WAN_PARTS, away, layers);
                        assert_false(begins && n != first[i]);
                        seconds += part[n % SWAN_WAN_PARTS];
                    }
                    assert_true(seconds <= limit + 1e-9 || first[i + 1] == first[i] + 1);
                    assert_true(!fits || first[i] % SWAN_WAN_PARTS == 0);
                }
            }
    }
}

/* Everything is captured when the session is opened; requests only launch, and allocate nothing. */
static void captured_once(void **state)
{
    (void)state;
    char *longest = test_long_prompt();
    for (int c = 0; c < CASES; c++)
        for (int slow = 0; slow < 3; slow++) {
            run x;
            /* a block of some 20 calls of 1.2 ms: more than one does not fit 32 ms; of 3 ms: a block does not, its attention or the rest does */
            run_open(&x, cases[c].model, cases[c].settings, (const double[]){1e-6, 1.2e-3, 3e-3}[slow], false);
            const swan_segments *g = &x.r.session->segments;
            int passes = x.r.session->guided ? 2 : 1, layers = x.r.engine->dit.config.layers;
            assert_int_equal(layers, 2);
            print_message("  parts of a block: %.1f, %.1f, %.1f ms\n", g->part_s[0] * 1e3, g->part_s[1] * 1e3, g->part_s[2] * 1e3);
            assert_true(slow < 2 || g->part_s[0] + g->part_s[1] + g->part_s[2] > 0.04);
            assert_int_equal(g->first[1], slow == 0 ? 2 * SWAN_WAN_PARTS : slow == 1 ? SWAN_WAN_PARTS : 1);
            assert_int_equal(g->count, slow == 0 ? 1 : slow == 1 ? 2 : 4);
            assert_int_equal(g->first[g->count], 2 * SWAN_WAN_PARTS);
            assert_int_equal(fake.count.captures, SWAN_UMT5_SHAPES + passes * SWAN_WAN_TEXT_SHAPES * (1 + g->count));
            const char *const texts[] = {prompt, longest, "", prompt};
            for (int t = 0; t < 4; t++) {
                fake.count = (fake_counts){0};
                free(latent_of(&x, texts[t], t));
                assert_int_equal(fake.count.captures, 0);
                assert_int_equal(fake.count.allocs, 0);
                assert_int_equal(fake.count.events, 0);
                int text = 2 * passes, segments = x.r.session->sched.steps * passes * g->count;
                assert_int_equal(fake.count.graph_launches, text + segments);
                assert_true(fake.count.most_in_flight <= text + SWAN_IN_FLIGHT);
                assert_true(fake.count.most_in_flight > text + (passes * g->count > 1)); /* noise between steps may be waited for */
                assert_int_equal(before_frames.synchronises, 0); /* text, noise and denoising wait for nobody */
            }
            run_close(&x);
        }
    free(longest);
}

/* Without graphs the same bound holds for kernels: those of two segments, and what lies between steps. */
static void launched_one_by_one(void **state)
{
    (void)state;
    for (int c = 0; c < CASES; c++) {
        run x;
        run_open(&x, cases[c].model, with(cases[c].settings, "graphs=off"), 1.2e-3, false);
        struct swan_session *s = x.r.session;
        assert_int_equal(s->segments.count, 2);
        assert_int_equal(fake.count.captures, 0);
        swan_plan plan;
        struct swan_session *kept = malloc(sizeof *kept);
        assert_non_null(kept);
        memcpy(kept, s, sizeof *s);
        assert_ok(swan_session_measure(s, 10, &plan));
        memcpy(s, kept, sizeof *s);
        free(kept);
        uint64_t step = plan.phase[SWAN_PLAN_DENOISE].launches / (uint64_t)s->sched.steps;
        fake.count = (fake_counts){0};
        free(latent_of(&x, prompt, 1));
        assert_int_equal(fake.count.graph_launches, 0);
        assert_true(fake.count.kernels > 0);
        /* text is enqueued in one go; a segment is half a pass at most, and three (two and the one being made) are under 2 passes */
        uint64_t text = plan.phase[SWAN_PLAN_TEXT].launches, bound = text > 2 * step ? text : 2 * step;
        if (before_frames.most_queued > bound + step) fail_msg("%llu kernels queued", (unsigned long long)before_frames.most_queued);
        run_close(&x);
    }
}

/* What the plan says of a prompt is what a request takes, graphs or not. */
static void planned_is_measured(void **state)
{
    (void)state;
    char *longest = test_long_prompt();
    const char *const texts[] = {"", prompt, longest};
    for (int c = 0; c < CASES; c++)
        for (int graphs = 0; graphs < 2; graphs++) {
            run x;
            run_open(&x, cases[c].model, with(cases[c].settings, graphs ? "graphs=on" : "graphs=off"), 1e-6, false);
            struct swan_session *s = x.r.session;
            swan_plan whole;
            assert_ok(swan_engine_plan(x.r.engine, x.r.params, &whole));
            for (int t = 0; t < 3; t++) {
                int32_t ids[SWAN_TEXT_TOKENS];
                int n;
                assert_ok(swan_session_tokenize(x.r.engine, texts[t], ids, &n));
                swan_plan plan;
                struct swan_session *kept = malloc(sizeof *kept);
                assert_non_null(kept);
                memcpy(kept, s, sizeof *s);
                assert_ok(swan_session_measure(s, n, &plan));
                memcpy(s, kept, sizeof *s);
                free(kept);
                s->params->negative_prompt = (char *)(uintptr_t)texts[t];
                free(latent_of(&x, texts[t], 1));
                s->params->negative_prompt = NULL;
                for (int p = 0; p < SWAN_PLAN_PHASES; p++) {
                    assert_int_equal(x.r.phase[p].counters.launches, plan.phase[p].launches);
                    assert_true(x.r.phase[p].counters.flops == plan.phase[p].flops);
                    assert_true(x.r.phase[p].peak <= plan.phase[p].activation_bytes);
                    if (!graphs) assert_int_equal(x.r.phase[p].peak, plan.phase[p].activation_bytes);
                    assert_true(plan.phase[p].activation_bytes <= whole.phase[p].activation_bytes);
                }
            }
            assert_int_equal(s->state_arena.peak, whole.state_bytes);
            run_close(&x);
        }
    free(longest);
}

/* ---- cancelling ---- */

typedef struct stop_at {
    run *x;
    int report, reports; /* of denoising */
    int launched;
} stop_at;

static bool stop_progress(void *user, const swan_progress *p)
{
    stop_at *s = user;
    bool go_on = test_progress(&s->x->r, p);
    if (p->phase != SWAN_PHASE_DENOISE || s->reports++ != s->report) return go_on;
    s->launched = fake.count.graph_launches;
    swan_session_cancel(s->x->r.session); /* as from another thread */
    return go_on;
}

static void forward_frame(void *user, int index, int width, int height, const uint8_t *rgb)
{
    test_frame(&((stop_at *)user)->x->r, index, width, height, rgb);
}

/* Whoever cancels waits for the segments in flight and no others; the next request is as if nothing had been. */
static void cancelled_between_segments(void **state)
{
    (void)state;
    run x;
    run_open(&x, "wan-tiny", cases[0].settings, 3e-3, false);
    float *want = latent_of(&x, prompt, 5);
    int segments = x.r.session->sched.steps * 2 * x.r.session->segments.count, seen = 0;
    for (int report = 0;; report++) {
        stop_at stop = {.x = &x, .report = report};
        x.r.session->callbacks = (swan_callbacks){.user = &stop, .progress = stop_progress, .frame = forward_frame};
        test_again(&x.r);
        fake.count = (fake_counts){0};
        swan_status status = swan_session_generate(x.r.session, prompt, 5, NULL);
        if (status == SWAN_OK) break; /* there were fewer reports */
        seen++;
        assert_int_equal(status, SWAN_E_CANCELLED);
        assert_string_equal(swan_last_error(), "cancelled");
        assert_int_equal(fake.count.graph_launches, stop.launched); /* not one more */
        assert_true(fake.count.most_in_flight <= SWAN_IN_FLIGHT + 2 * 2); /* a text's two, for both prompts */
        assert_int_equal(fake_run(), fake_enqueued()); /* nothing is left in flight */
        stop.report = -1;
        float *got = latent_of(&x, prompt, 5);
        assert_memory_equal(got, want, latent_bytes(&x));
        free(got);
    }
    assert_true(seen >= segments - 2); /* progress is reported between segments, not only between steps */
    free(want);
    run_close(&x);
}

/* ---- failing ---- */

static void without_graphs_when_capturing_fails(void **state)
{
    (void)state;
    run x;
    run_open(&x, "wan-tiny", cases[0].settings, 1e-6, false);
    float *want = latent_of(&x, prompt, 5);
    run_close(&x);
    run_open(&x, "wan-tiny", cases[0].settings, 1e-6, true);
    assert_int_equal(x.r.warnings, 1);
    assert_string_equal(x.r.log, "graphs: capturing failed, so kernels are launched one by one: fake: no room for a graph");
    assert_int_equal(fake.count.captures, 1); /* it is not tried again and again */
    float *got = latent_of(&x, prompt, 5);
    assert_int_equal(fake.count.graph_launches, 0);
    assert_int_equal(fake.count.captures, 0 + 1);
    assert_memory_equal(got, want, latent_bytes(&x));
    free(got);
    free(want);
    run_close(&x);
}

/* A fault stays: one clear message, and every later request fails at once. */
static void faults_stay(void **state)
{
    (void)state;
    for (int graphs = 0; graphs < 2; graphs++)
        for (uint64_t at = 1; at < 1200; at += 97) {
            run x;
            run_open(&x, "wan-tiny", with(cases[0].settings, graphs ? "graphs=on" : "graphs=off"), 3e-3, false);
            fake.fault_after = at;
            test_again(&x.r);
            swan_status status = swan_session_generate(x.r.session, prompt, 5, NULL);
            if (status == SWAN_OK) { /* fewer kernels than that */
                assert_true(fake.fault_after > 0);
                run_close(&x);
                break;
            }
            for (int again = 0; again < 2; again++) {
                assert_int_equal(status, SWAN_E_DEVICE);
                assert_string_equal(swan_last_error(), "fake: the device failed: on purpose");
                size_t enqueued = fake_enqueued();
                status = swan_session_generate(x.r.session, prompt, 5, NULL);
                assert_int_equal(fake_enqueued(), enqueued);
            }
            run_close(&x);
        }
}

/* ---- tracing ---- */

static void traced_runs_are_not_replayed(void **state)
{
    (void)state;
    run x;
    run_open(&x, "fastwan-tiny", cases[2].settings, 1e-6, false);
    float *want = latent_of(&x, prompt, 5);
    assert_ok(swan_params_set(x.r.session->params, "trace", "/dev/null"));
    fake.count = (fake_counts){0};
    float *got = latent_of(&x, prompt, 5);
    assert_int_equal(fake.count.graph_launches, 0);
    assert_memory_equal(got, want, latent_bytes(&x));
    free(got);
    free(want);
    run_close(&x);
}

/* Without file and callback nobody waits for frames; the report does. */
static void nobody_wants_frames(void **state)
{
    (void)state;
    run x;
    swan_report report;
    run_open(&x, "wan-tiny", cases[1].settings, 1e-3, false);
    x.r.session->callbacks = (swan_callbacks){0};
    double before = fake.now;
    assert_ok(swan_session_generate(x.r.session, prompt, 5, &report));
    assert_int_equal(fake_run(), fake_enqueued());
    assert_true(report.text_s > 0 && report.denoise_s > report.text_s && fake.now - before > report.text_s + report.denoise_s);
    run_close(&x);
}

/* Layers moved behind each other, as the weight tables have them in a GPU's arena. */
static uint8_t *lay_together(swan_linear *const *layer, int count)
{
    size_t weight = swan_tensor_bytes(&layer[0]->weight), bias = layer[0]->bias.data ? swan_tensor_bytes(&layer[0]->bias) : 0;
    uint8_t *memory = aligned_alloc(64, ((size_t)count * (weight + bias) + 63) / 64 * 64);
    assert_non_null(memory);
    for (int i = 0; i < count; i++) {
        uint8_t *at = memory + (size_t)i * weight, *after = memory + (size_t)count * weight + (size_t)i * bias;
        memcpy(at, layer[i]->weight.data, weight);
        layer[i]->weight.data = at;
        if (!bias) continue;
        memcpy(after, layer[i]->bias.data, bias);
        layer[i]->bias.data = after;
    }
    return memory;
}

/* Where weights lie together one product makes q, k, v (and the gate): fewer calls, the same latent. */
static void one_projection(void **state)
{
    (void)state;
    for (int c = 0; c < CASES; c++) {
        run x;
        uint8_t *memory[4];
        uint64_t text[2], denoise[2];
        float *z[2];
        run_open(&x, cases[c].model, cases[c].settings, 1e-6, false);
        swan_wan_dit *dit = &x.r.engine->dit;
        swan_umt5 *umt5 = &x.r.engine->umt5;
        assert_int_equal(umt5->config.layers, 2);
        int parts = x.r.session->geometry.attention.kind == SWAN_ATTN_VSA ? 4 : 3, passes = x.r.session->guided ? 2 : 1;
        for (int together = 0; together < 2; together++) {
            z[together] = latent_of(&x, prompt, 5);
            text[together] = x.r.phase[SWAN_PLAN_TEXT].counters.launches;
            denoise[together] = x.r.phase[SWAN_PLAN_DENOISE].counters.launches;
            if (together) break;
            swan_session_close(x.r.session);
            for (int i = 0; i < 2; i++) {
                swan_wan_block *w = &dit->block[i];
                swan_umt5_layer *l = &umt5->layer[i];
                memory[i] = lay_together((swan_linear *[]){&w->self.q, &w->self.k, &w->self.v, &w->gate}, parts);
                memory[2 + i] = lay_together((swan_linear *[]){&l->q, &l->k, &l->v}, 3);
            }
            swan_callbacks callbacks = {.user = &x.r, .progress = watch_progress, .log = test_log, .frame = test_frame};
            assert_ok(swan_session_open(x.r.engine, x.r.params, &callbacks, &x.r.session));
        }
        assert_int_equal(text[0] - text[1], 2 * 2 * passes);
        assert_int_equal(denoise[0] - denoise[1], 2 * (parts - 1) * passes * x.r.session->sched.steps);
        double d = distance(z[1], z[0], latent_bytes(&x) / sizeof(float));
        print_message("  %-12s %d layers in one: %.1e from each by itself\n", cases[c].model, parts, d);
        assert_true(d < 1e-5);
        free(z[0]);
        free(z[1]);
        run_close(&x);
        for (int i = 0; i < 4; i++) free(memory[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replay_is_exact),
        cmocka_unit_test(cut_where_it_should),
        cmocka_unit_test(captured_once),
        cmocka_unit_test(launched_one_by_one),
        cmocka_unit_test(planned_is_measured),
        cmocka_unit_test(cancelled_between_segments),
        cmocka_unit_test(without_graphs_when_capturing_fails),
        cmocka_unit_test(faults_stay),
        cmocka_unit_test(traced_runs_are_not_replayed),
        cmocka_unit_test(nobody_wants_frames),
        cmocka_unit_test(one_projection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
