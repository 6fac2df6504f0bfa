/* What is resident for so much memory: the choice is the best there is; a session takes what was planned, to the byte; and where weights
 * live changes no byte of a video. The GPU is a fake one (fake_device.inc), on which engines are opened like on a real one. */
#include "fake_device.inc"

static const char *const prompt = "a red fox walks through fresh snow";

/* ---- the choice ---- */

/* wan2.1-1.3b at 81x480x832, about, in MiB. */
static swan_residency_sizes sizes_13b(void)
{
    swan_residency_sizes s = {.fixed_bytes = 120,
                              .part = {{30, 79, 3}, {30, 9, 1}, {24, 370, 1}, {1, 2000, 0}}};
    for (int set = 0; set < SWAN_RESIDENCIES; set++) {
        uint64_t text = 30 + (set >> SWAN_PART_TEXT_LAYERS & 1) * 740, denoise = 700 + (set >> SWAN_PART_BLOCKS & 1) * 158;
        s.session_bytes[set] = 170 + (text > denoise ? text : denoise);
    }
    return s;
}

static uint64_t all_bytes(const swan_residency_sizes *s)
{
    uint64_t bytes = s->fixed_bytes + s->session_bytes[0];
    for (int p = 0; p < SWAN_PARTS; p++) bytes += (uint64_t)s->part[p].layers * s->part[p].bytes;
    return bytes;
}

static double bus_of(const swan_residency_sizes *s, const int away[SWAN_PARTS], uint64_t *device)
{
    double bus = 0;
    int set = 0;
    *device = s->fixed_bytes;
    for (int p = 0; p < SWAN_PARTS; p++) {
        *device += (uint64_t)(s->part[p].layers - away[p]) * s->part[p].bytes;
        bus += away[p] * (double)s->part[p].bytes * s->part[p].uses;
        set |= (away[p] > 0) << p;
    }
    *device += s->session_bytes[set];
    return bus;
}

/* Everything fits, then less and less does: what is read every step goes last. */
static void more_memory_is_never_worse(void **state)
{
    (void)state;
    swan_residency_sizes s = sizes_13b();
    swan_residency r, before = {0};
    uint64_t all = all_bytes(&s), least = 0;
    assert_true(swan_residency_choose(&s, all, &r));
    for (int p = 0; p < SWAN_PARTS; p++) assert_int_equal(r.away[p], 0);
    assert_int_equal(r.device_bytes, all);
    assert_false(swan_residency_choose(&s, 0, &before));
    least = before.device_bytes;
    assert_int_equal(least, 120 + 170 + 858);
    assert_false(swan_residency_choose(&s, least - 1, &r));
    assert_int_equal(r.device_bytes, least); /* what would be enough */
    assert_true(swan_residency_choose(&s, least, &before));
    assert_int_equal(before.away[SWAN_PART_BLOCKS], 30);
    for (uint64_t allowed = least; allowed <= all; allowed += 97) {
        uint64_t device;
        assert_true(swan_residency_choose(&s, allowed, &r));
        assert_true(r.device_bytes <= allowed);
        assert_true(bus_of(&s, r.away, &device) == r.bus_bytes);
        assert_int_equal(device, r.device_bytes);
        assert_true(r.bus_bytes <= before.bus_bytes);
        /* a layer of the encoder is read once a video, so it goes before blocks that take as much; one may stay where a few blocks fewer are in its way */
        if (r.away[SWAN_PART_BLOCKS] > 2) assert_int_equal(r.away[SWAN_PART_TEXT_LAYERS], 24);
        before = r;
    }
    /* the goal: 8 GB hold all blocks; 4 GB too, with 640 MiB of CUDA's */
    assert_true(swan_residency_choose(&s, 8192 - 640, &r));
    assert_int_equal(r.away[SWAN_PART_BLOCKS], 0);
    assert_true(r.away[SWAN_PART_TEXT_LAYERS] > 0 && r.away[SWAN_PART_TEXT_LAYERS] < 24);
    assert_true(swan_residency_choose(&s, 4096 - 640, &r));
    assert_int_equal(r.away[SWAN_PART_BLOCKS], 0);
    assert_true(swan_residency_choose(&s, 3072 - 640, &r));
    assert_true(r.away[SWAN_PART_BLOCKS] > 10 && r.away[SWAN_PART_BLOCKS] < 20);
}

/* Beside every other way to place small models, of which some layers are larger than others: none that fits moves fewer bytes. */
static void nothing_is_better(void **state)
{
    (void)state;
    swan_residency_sizes s = {.fixed_bytes = 5, .part = {{4, 6, 3}, {4, 2, 1}, {3, 23, 1}, {1, 31, 0}}};
    for (int set = 0; set < SWAN_RESIDENCIES; set++) s.session_bytes[set] = (uint64_t)(10 + (set & 1) * 12 + (set & 2) * 3 + (set & 4) * 2);
    for (int set = 0; set < SWAN_RESIDENCIES; set++)
        if (!(set & 2)) s.session_bytes[set] += 9; /* a part that is whole may want more of a session */
    uint64_t most = all_bytes(&s);
    for (uint64_t allowed = 0; allowed <= most + 1; allowed++) {
        double best = 1e9;
        for (int n = 0; n < 5 * 5 * 4 * 2; n++) {
            const int away[SWAN_PARTS] = {n % 5, n / 5 % 5, n / 25 % 4, n / 100}; /* another order than the choice's */
            uint64_t device;
            double bus = bus_of(&s, away, &device);
            if (device <= allowed && bus < best) best = bus;
        }
        swan_residency r;
        bool fits = swan_residency_choose(&s, allowed, &r);
        assert_int_equal(fits, best < 1e9);
        if (fits) assert_true(r.bus_bytes == best);
    }
}

/* ---- engines ---- */

enum { DEEP_BYTES = FRAMES * WIDTH * HEIGHT * 3 };

static const uint64_t overhead = 640u << 20; /* engine.c's */

typedef struct deep_run {
    test_run r;
    fake_engine kept;
} deep_run;

static swan_params *deep_params(const char *const *settings, uint64_t vram)
{
    static const char *const usual[] = {"model=deeptiny", "weights=random", "exact=true", "size=64x48", "num_frames=9", "num_inference_steps=2",
                                        "threads=2", NULL};
    const char *const *lists[] = {usual, settings};
    swan_params *p;
    assert_ok(swan_params_new(&p));
    for (int l = 0; l < 2; l++)
        for (const char *const *at = lists[l]; at && *at; at++) {
            const char *equals = strchr(*at, '=');
            char key[64];
            snprintf(key, sizeof key, "%.*s", (int)(equals - *at), *at);
            assert_ok(swan_params_set(p, key, equals + 1));
        }
    char bytes[32];
    snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)vram);
    if (vram) assert_ok(swan_params_set(p, "vram", bytes));
    return p;
}

static void deep_open(deep_run *d, const char *const *settings, uint64_t vram, bool eager, double kernel_s)
{
    *d = (deep_run){.r = {.params = deep_params(settings, vram)}};
    test_run *r = &d->r;
    r->frames = calloc(1, DEEP_BYTES);
    assert_non_null(r->frames);
    assert_ok(fake_open_engine(r->params, 0, &d->kept, &r->engine));
    fake.eager = eager;
    fake.kernel_s = kernel_s;
    swan_callbacks callbacks = {.user = r, .progress = test_progress, .log = test_log, .frame = test_frame};
    assert_ok(swan_session_open(r->engine, r->params, &callbacks, &r->session));
}

static void deep_close(deep_run *d) { test_close(&d->r); }

static uint64_t copied(const struct swan_session *s)
{
    uint64_t bytes = 0;
    for (int p = 0; p < SWAN_PARTS; p++) bytes += s->away[p].copied;
    return bytes;
}

/* What weights and a session take at most and at least. */
static void bounds(const char *const *settings, uint64_t *most, uint64_t *least)
{
    swan_engine *e;
    fake_engine kept;
    swan_plan plan;
    swan_params *p = deep_params(settings, 0);
    assert_ok(fake_open_engine(p, 0, &kept, &e));
    assert_ok(swan_engine_plan(e, p, &plan));
    *most = plan.device_bytes;
    assert_int_equal(plan.blocks_streamed, 0);
    assert_int_equal(plan.host_weight_bytes, 0);
    assert_int_equal(plan.step_bus_bytes + plan.prompt_bus_bytes, 0);
    swan_engine_close(e);
    swan_params_free(p);
    p = deep_params(settings, overhead + 1);
    assert_int_equal(fake_open_engine(p, 0, &kept, &e), SWAN_E_NOMEM);
    const char *at = strstr(swan_last_error(), "wanted at least ");
    assert_non_null(at);
    unsigned long long mib = strtoull(at + strlen("wanted at least "), NULL, 10);
    swan_params_free(p);
    /* said in whole MiB: to the byte by trying */
    uint64_t low = 1, high = ((uint64_t)mib << 20) - overhead;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        p = deep_params(settings, overhead + middle);
        swan_status status = fake_open_engine(p, 0, &kept, &e);
        if (status) assert_int_equal(status, SWAN_E_NOMEM);
        else swan_engine_close(e);
        if (status) low = middle + 1;
        else high = middle;
        swan_params_free(p);
    }
    *least = low;
    assert_int_equal((low + overhead + 0xFFFFF) >> 20, mib); /* what the message says is enough, and no less is */
}

/* The same frames from least to most memory, streams in either order, captured or not, segments short or long; the plan is exact. */
static void residency_changes_nothing(void **state)
{
    (void)state;
    static const char *const settings[][4] = {
        {NULL}, {"attention=dense", "sampler=unipc", "guidance_scale=4", NULL}, {"graphs=off", NULL}};
    for (size_t c = 0; c < sizeof settings / sizeof settings[0]; c++) {
        uint64_t most, least;
        uint8_t *want = malloc(DEEP_BYTES);
        assert_non_null(want);
        deep_run d;
        bounds(settings[c], &most, &least);
        deep_open(&d, settings[c], 0, false, 1e-6);
        test_generate(&d.r, prompt, 7);
        memcpy(want, d.r.frames, DEEP_BYTES);
        deep_close(&d);
        print_message("  weights and session: %llu, at least %llu bytes\n", (unsigned long long)most, (unsigned long long)least);
        assert_true(least < most / 3 * 2); /* what is always resident: the decoder, what makes modulations */
        int seen = 0;
        for (int i = 0; i <= 6; i++) {
            uint64_t allowed = i < 6 ? least + (most - least) * (uint64_t)i / 6 : most - (256 << 10);
            deep_open(&d, settings[c], overhead + allowed, i % 2, i % 3 ? 1e-6 : 1.5e-3);
            struct swan_session *s = d.r.session;
            swan_plan plan;
            assert_ok(swan_engine_plan(d.r.engine, d.r.params, &plan));
            assert_true(plan.device_bytes <= allowed);
            assert_int_equal(plan.blocks_streamed > 0, d.r.engine->away[SWAN_PART_BLOCKS] > 0);
            if (i == 0) assert_int_equal(plan.blocks_streamed, plan.blocks);
            seen |= (plan.blocks_streamed > 0 && plan.blocks_streamed < plan.blocks) | (plan.text_layers_streamed > 0 && !plan.blocks_streamed) << 1;
            for (int k = 0; k < 2; k++) {
                uint64_t before = copied(s);
                test_generate(&d.r, k ? "something else entirely, and longer than before" : prompt, 7 + k);
                assert_int_equal(copied(s) - before, plan.prompt_bus_bytes + 2 * plan.step_bus_bytes);
                for (int p = 0; p < SWAN_PLAN_PHASES; p++) assert_true(d.r.phase[p].peak <= plan.phase[p].activation_bytes);
            }
            swan_report report = test_generate(&d.r, prompt, 7);
            assert_memory_equal(d.r.frames, want, DEEP_BYTES);
            assert_int_equal(report.device_bytes, plan.device_bytes);
            assert_true(report.device_bytes <= allowed);
            deep_close(&d);
        }
        assert_int_equal(seen, 3); /* some blocks away; text layers alone, where little is missing */
        free(want);
    }
}

/* A request that is given up leaves no weights on their way: the next one finds its own. */
static void cancelled_and_again(void **state)
{
    (void)state;
    uint64_t most, least;
    const char *const settings[] = {NULL};
    bounds(settings, &most, &least);
    for (int eager = 0; eager < 2; eager++) {
        deep_run d;
        deep_open(&d, settings, overhead + least, eager, 1.5e-3);
        test_generate(&d.r, prompt, 7);
        uint8_t *want = malloc(DEEP_BYTES);
        assert_non_null(want);
        memcpy(want, d.r.frames, DEEP_BYTES);
        for (int step = 0; step < 2; step++) {
            test_again(&d.r);
            d.r.cancels = true;
            d.r.cancel_phase = SWAN_PHASE_DENOISE;
            d.r.cancel_step = step;
            assert_int_equal(swan_session_generate(d.r.session, prompt, 7, NULL), SWAN_E_CANCELLED);
            assert_int_equal(fake_run(), fake_enqueued());
            d.r.cancels = false;
            test_generate(&d.r, prompt, 7);
            assert_memory_equal(d.r.frames, want, DEEP_BYTES);
        }
        free(want);
        deep_close(&d);
    }
}

/* Captured segments serve every request: with blocks away, nothing is captured or reserved after open. */
static void captured_once(void **state)
{
    (void)state;
    uint64_t most, least;
    const char *const settings[] = {NULL};
    bounds(settings, &most, &least);
    deep_run d;
    deep_open(&d, settings, overhead + least, false, 1e-6);
    const swan_segments *g = &d.r.session->segments;
    assert_true(g->captured);
    assert_int_equal(g->count, d.r.engine->dit.config.layers); /* each of these short blocks by itself: its weights come before */
    fake.count = (fake_counts){0};
    test_generate(&d.r, prompt, 1);
    assert_int_equal(fake.count.captures, 0);
    assert_int_equal(fake.count.allocs, 0);
    assert_int_equal(fake.count.events, 0);
    const int *away = d.r.engine->away;
    int text = !away[SWAN_PART_TEXT_LAYERS] + !away[SWAN_PART_BLOCK_TEXTS]; /* captured where nothing passes through */
    assert_int_equal(fake.count.graph_launches, 2 * g->count + text);
    assert_true(fake.count.most_in_flight <= SWAN_IN_FLIGHT + text);
    deep_close(&d);
}

/* ---- too little ---- */

static void refusals_say_what_would_do(void **state)
{
    (void)state;
    uint64_t most, least;
    const char *const settings[] = {NULL};
    fake_engine kept;
    swan_engine *e;
    bounds(settings, &most, &least);
    swan_params *p = deep_params(settings, overhead + least - 1);
    assert_int_equal(fake_open_engine(p, 0, &kept, &e), SWAN_E_NOMEM);
    print_message("  %s\n", swan_last_error());
    static const char *const says[] = {"--vram: wanted at least 6", "found 6", "640 MiB are CUDA's own", "with every layer streamed", "fewer frames"};
    for (size_t i = 0; i < sizeof says / sizeof says[0]; i++) assert_non_null(strstr(swan_last_error(), says[i]));
    swan_params_free(p);
    p = deep_params(settings, 1 << 20); /* less than CUDA's own */
    assert_int_equal(fake_open_engine(p, 0, &kept, &e), SWAN_E_NOMEM);
    assert_non_null(strstr(swan_last_error(), "found 1M"));
    swan_params_free(p);
    p = deep_params(settings, 0); /* nothing is said, and little is free */
    assert_int_equal(fake_open_engine(p, (112u << 20) + least - 1, &kept, &e), SWAN_E_NOMEM);
    assert_non_null(strstr(swan_last_error(), "free; fewer frames"));
    assert_ok(fake_open_engine(p, (112u << 20) + least, &kept, &e));
    assert_int_equal(e->away[SWAN_PART_BLOCKS], e->dit.config.layers);
    swan_engine_close(e);
    swan_params_free(p);
    /* a session that is larger than the engine's own is held to --vram as well */
    p = deep_params(settings, overhead + least);
    assert_ok(fake_open_engine(p, 0, &kept, &e));
    swan_session *s;
    assert_ok(swan_params_set(p, "num_frames", "33"));
    assert_int_equal(swan_session_open(e, p, NULL, &s), SWAN_E_NOMEM);
    assert_non_null(strstr(swan_last_error(), "--vram: wanted "));
    assert_non_null(strstr(swan_last_error(), "64x48 with 33 frames"));
    swan_engine_close(e);
    swan_params_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_memory_is_never_worse), cmocka_unit_test(nothing_is_better), cmocka_unit_test(residency_changes_nothing),
        cmocka_unit_test(cancelled_and_again), cmocka_unit_test(captured_once), cmocka_unit_test(refusals_say_what_would_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
