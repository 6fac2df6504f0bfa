/* Samplers against whole runs of the reference schedulers on a toy velocity field (tools/fixtures/sched.py), in fp64.
 * Run from the repository's root. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sched/sched.h"

enum { N = 3 };

/* fp64 throughout; the values are of order 1 and a run has up to 1,000 steps. */
#define BOUND 1e-12

typedef struct run {
    swan_sched s;
    double buffer[SWAN_SCHED_BUFFERS][N];
} run;

static void velocity(double v[N], const double x[N], double t)
{
    for (int j = 0; j < N; j++) v[j] = 0.9 * x[j] - 0.3 + 0.4 * sin(2 * x[j] + t / 500 + j);
}

/* The operator that generate.c has for tensors. Reading a buffer that nothing has written gives NaN here. */
static void combine(const swan_sched_update *u, double buffer[SWAN_SCHED_BUFFERS][N])
{
    assert_in_range(u->terms, 1, SWAN_SCHED_MAX_TERMS);
    for (int j = 0; j < N; j++) {
        double sum = 0;
        for (int k = 0; k < u->terms; k++) sum += u->term[k].coefficient * buffer[u->term[k].source][j];
        buffer[u->target][j] = sum;
    }
}

static void begin(run *r, const swan_sched_config *c)
{
    static const double start[N] = {1.3, -0.4, 0.2};
    assert_int_equal(swan_sched_init(&r->s, c), SWAN_OK);
    for (int b = 0; b < SWAN_SCHED_BUFFERS; b++)
        for (int j = 0; j < N; j++) r->buffer[b][j] = NAN;
    memcpy(r->buffer[SWAN_SCHED_SAMPLE], start, sizeof start);
}

static void step(run *r, int i)
{
    velocity(r->buffer[SWAN_SCHED_VELOCITY], r->buffer[SWAN_SCHED_SAMPLE], r->s.timestep[i]);
    for (int j = 0; j < N; j++)
        r->buffer[SWAN_SCHED_NOISE][j] = swan_sched_needs_noise(&r->s, i) ? cos(1.7 * j + 0.9 * i) : NAN;
    swan_sched_update update[SWAN_SCHED_MAX_UPDATES];
    int updates = swan_sched_step(&r->s, i, update);
    assert_in_range(updates, 1, SWAN_SCHED_MAX_UPDATES);
    for (int k = 0; k < updates; k++) {
        assert_true(swan_sched_buffers(&r->s) >> update[k].target & 1);
        combine(&update[k], r->buffer);
    }
}

static swan_sched_config parse_case(const char *line, double list[16])
{
    char sampler[32], grid[32];
    swan_sched_config c = {0};
    int used = 0;
    int got = sscanf(line, "case %31s %31s %d %lf %d%n", sampler, grid, &c.steps, &c.shift, &c.dmd_timestep_count, &used);
    assert_int_equal(got, 5);
    while (strcmp(swan_sampler_name(c.sampler), sampler) != 0) c.sampler++;
    while (strcmp(swan_sched_grid_name(c.grid), grid) != 0) c.grid++;
    assert_in_range(c.dmd_timestep_count, 0, 16);
    for (int k = 0; k < c.dmd_timestep_count; k++) {
        int more = 0;
        assert_int_equal(sscanf(line + used, "%lf%n", &list[k], &more), 1);
        used += more;
    }
    if (c.dmd_timestep_count) c.dmd_timesteps = list;
    return c;
}

static void near(double got, double want, const char *what, const char *name, int i)
{
    if (!(fabs(got - want) <= BOUND)) fail_msg("%s, step %d, %s: %.17g, reference %.17g", name, i, what, got, want);
}

static void test_whole_runs(void **state)
{
    (void)state;
    FILE *f = fopen("tests/data/sched/cases.txt", "r");
    if (!f) fail_msg("tests/data/sched/cases.txt is missing: run the tests from the repository's root");
    char line[512], name[512] = "";
    static run r;
    double list[16];
    int cases = 0, done = 0;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "case", 4) == 0) {
            if (cases) assert_int_equal(done, r.s.steps); /* the last step of every run is in the file */
            swan_sched_config c = parse_case(line, list);
            begin(&r, &c);
            snprintf(name, sizeof name, "%s", line);
            cases++;
            done = 0;
            continue;
        }
        int i;
        double t, sigma, x0[N], x[N];
        int got = sscanf(line, "at %d %lf %lf %lf %lf %lf %lf %lf %lf", &i, &t, &sigma, &x0[0], &x0[1], &x0[2], &x[0],
                         &x[1], &x[2]);
        assert_int_equal(got, 9);
        while (done <= i) step(&r, done++);
        near(r.s.timestep[i], t, "timestep", name, i);
        near(r.s.sigma[i], sigma, "sigma", name, i);
        for (int j = 0; j < N; j++) {
            near(r.buffer[swan_sched_x0(&r.s, i)][j], x0[j], "x0", name, i);
            near(r.buffer[SWAN_SCHED_SAMPLE][j], x[j], "sample", name, i);
        }
    }
    fclose(f);
    assert_int_equal(done, r.s.steps);
    assert_int_equal(cases, 34);
}

/* FastWan-QAD as shipped: three steps, written out: weights of the noise and of the x0 predictions. */
static void test_three_steps_in_closed_form(void **state)
{
    (void)state;
    swan_sched_config c = {.sampler = SWAN_SAMPLER_UNIPC, .grid = SWAN_GRID_FASTVIDEO, .steps = 3, .shift = 3};
    static run r;
    static const double sigma[] = {.99988878, .85702026, .59987986, 0}, timestep[] = {999, 857, 599};
    begin(&r, &c);
    for (int i = 0; i < 4; i++) assert_true(fabs(r.s.sigma[i] - sigma[i]) < 5e-9);
    for (int i = 0; i < 3; i++) assert_true(r.s.timestep[i] == timestep[i]);
    double first[N], m0[N];
    memcpy(first, r.buffer[SWAN_SCHED_SAMPLE], sizeof first);
    step(&r, 0);
    memcpy(m0, r.buffer[SWAN_SCHED_X0_EVEN], sizeof m0);
    for (int j = 0; j < N; j++)
        assert_true(fabs(r.buffer[SWAN_SCHED_SAMPLE][j] - (.8571156 * first[j] + .1428844 * m0[j])) < 2e-7);
    step(&r, 1);
    double before[N];
    for (int j = 0; j < N; j++) {
        double want = .5999466 * first[j] + .0215787 * m0[j] + .3784747 * r.buffer[SWAN_SCHED_X0_ODD][j];
        assert_true(fabs(r.buffer[SWAN_SCHED_SAMPLE][j] - want) < 2e-7);
        before[j] = r.buffer[SWAN_SCHED_SAMPLE][j];
    }
    step(&r, 2);
    for (int j = 0; j < N; j++)
        assert_true(fabs(r.buffer[SWAN_SCHED_SAMPLE][j] - before[j] + .59987986 * r.buffer[SWAN_SCHED_VELOCITY][j]) < 1e-8);
}

static void test_published_dmd_sigmas(void **state)
{
    (void)state;
    static const double sigma[] = {1.0, 0.7567567229270935, 0.52173912525177, 0}; /* fp32 values */
    swan_sched_config c = {.sampler = SWAN_SAMPLER_DMD};
    swan_sched s;
    assert_int_equal(swan_sched_init(&s, &c), SWAN_OK);
    assert_int_equal(s.steps, 3);
    for (int i = 0; i < 4; i++) assert_true(s.sigma[i] == sigma[i]);
    assert_true(swan_sched_needs_noise(&s, 0) && swan_sched_needs_noise(&s, 1) && !swan_sched_needs_noise(&s, 2));
}

/* Every combination of samples and x0 has weight 1 in all: a clean, constant video stays what it is. */
static void test_weights_sum_to_one(void **state)
{
    (void)state;
    static const swan_sched_config configs[] = {{.sampler = SWAN_SAMPLER_UNIPC, .steps = 50},
                                                {.sampler = SWAN_SAMPLER_UNIPC, .steps = 1000, .shift = 100},
                                                {.sampler = SWAN_SAMPLER_UNIPC, .steps = 7, .shift = 0.01},
                                                {.sampler = SWAN_SAMPLER_EULER, .steps = 1000, .shift = 0.01},
                                                {.sampler = SWAN_SAMPLER_DMD, .steps = 8}};
    for (size_t n = 0; n < sizeof configs / sizeof *configs; n++) {
        swan_sched s;
        assert_int_equal(swan_sched_init(&s, &configs[n]), SWAN_OK);
        for (int i = 0; i < s.steps; i++) {
            swan_sched_update update[SWAN_SCHED_MAX_UPDATES];
            int updates = swan_sched_step(&s, i, update);
            for (int k = 0; k < updates; k++) {
                double sum = 0;
                for (int j = 0; j < update[k].terms; j++) {
                    assert_true(isfinite(update[k].term[j].coefficient));
                    if (update[k].term[j].source != SWAN_SCHED_VELOCITY) sum += update[k].term[j].coefficient;
                }
                assert_true(fabs(sum - 1) < 1e-12);
            }
        }
    }
}

static void test_buffers(void **state)
{
    (void)state;
    static const struct {
        swan_sched_config c;
        unsigned used;
    } rows[] = {
        {{.sampler = SWAN_SAMPLER_DMD}, 1u << SWAN_SCHED_NOISE | 1u << SWAN_SCHED_X0_EVEN},
        {{.sampler = SWAN_SAMPLER_DMD, .steps = 1}, 1u << SWAN_SCHED_X0_EVEN},
        {{.sampler = SWAN_SAMPLER_EULER, .steps = 9}, 1u << SWAN_SCHED_X0_EVEN},
        {{.sampler = SWAN_SAMPLER_UNIPC, .steps = 1}, 1u << SWAN_SCHED_X0_EVEN},
        {{.sampler = SWAN_SAMPLER_UNIPC, .steps = 3},
         1u << SWAN_SCHED_X0_EVEN | 1u << SWAN_SCHED_X0_ODD | 1u << SWAN_SCHED_LAST},
    };
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        swan_sched s;
        assert_int_equal(swan_sched_init(&s, &rows[n].c), SWAN_OK);
        assert_int_equal(swan_sched_buffers(&s), rows[n].used | 1u << SWAN_SCHED_SAMPLE | 1u << SWAN_SCHED_VELOCITY);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static const double rising[] = {500, 600}, outside[] = {1000, 0}, close[] = {500.2, 500.1};
    static const struct {
        swan_sched_config c;
        const char *says;
    } rows[] = {
        {{.sampler = SWAN_SAMPLER_UNIPC, .steps = 0}, "steps: 0"},
        {{.sampler = SWAN_SAMPLER_UNIPC, .steps = 1001}, "steps: 1001"},
        {{.sampler = SWAN_SAMPLER_DMD, .steps = -1}, "steps: -1"},
        {{.sampler = SWAN_SAMPLER_EULER, .steps = 3, .shift = NAN}, "shift"},
        {{.sampler = SWAN_SAMPLER_EULER, .steps = 3, .shift = -3}, "shift: -3"},
        {{.sampler = SWAN_SAMPLER_EULER, .steps = 3, .shift = 1000}, "shift: 1000"},
        {{.sampler = SWAN_SAMPLER_DMD, .grid = SWAN_GRID_ORIGINAL}, "original"},
        {{.sampler = SWAN_SAMPLER_DMD, .dmd_timesteps = rising, .dmd_timestep_count = 2}, "600 comes after 500"},
        {{.sampler = SWAN_SAMPLER_DMD, .dmd_timesteps = outside, .dmd_timestep_count = 2}, "0 is not in"},
        {{.sampler = SWAN_SAMPLER_DMD, .dmd_timesteps = close, .dmd_timestep_count = 2}, "are equal"},
        {{.sampler = SWAN_SAMPLER_DMD, .dmd_timesteps = close, .dmd_timestep_count = 0}, "0 values"},
        {{.sampler = SWAN_SAMPLER_DMD, .steps = 1000}, "use fewer steps"},
        {{.sampler = (swan_sampler)7, .steps = 3}, "sampler 7"},
        {{.sampler = SWAN_SAMPLER_UNIPC, .grid = (swan_sched_grid)9, .steps = 3}, "grid 9"},
    };
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        swan_sched s;
        assert_int_equal(swan_sched_init(&s, &rows[n].c), SWAN_E_INVALID);
        if (!strstr(swan_last_error(), rows[n].says))
            fail_msg("\"%s\" does not say \"%s\"", swan_last_error(), rows[n].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_runs),         cmocka_unit_test(test_three_steps_in_closed_form),
        cmocka_unit_test(test_published_dmd_sigmas), cmocka_unit_test(test_weights_sum_to_one),
        cmocka_unit_test(test_buffers),            cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
