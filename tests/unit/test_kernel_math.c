/* The elementary functions inside CPU rows, element by element in ulps of the exact result: gelu and silu as the
 * epilogue of a product with one weight of 1, silu and 3 tanh(x / 3) as maps, exp as the weight of a key.
 * checkkernel's bounds are relative to sums and would not see a wrong last bit in a tail. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* after its own headers */
#include <cmocka.h>

#include "kernel/table.h"

#define COUNT 400001

static double gelu(double r) { return r / (1 + exp(-1.5957691216057307 * (r + 0.044715 * r * r * r))); }
static double silu(double r) { return r / (1 + exp(-r)); }
static double clamp(double r) { return 3 * tanh(r / 3); }

/* One unit of the float nearest to v; of the smallest float below the normal range. */
static double ulp(double v)
{
    int e;
    frexp(v, &e);
    return ldexp(1, e - 24 < -149 ? -149 : e - 24);
}

/* -range .. range evenly, then both signs of every magnitude down to the subnormals. */
static void fill(float *x, float range)
{
    for (int i = 0; i < COUNT; i++) {
        float t = (float)i / (COUNT - 1);
        x[i] = i % 2 ? (2 * t - 1) * range : (i % 4 ? -1.0f : 1.0f) * exp2f(-150 + 150 * t) * range;
    }
}

static void compare(const swan_kernel_row *row, const char *what, const float *x, const float *y, double (*f)(double),
                    double bound)
{
    double worst = 0;
    float at = 0;
    for (int i = 0; i < COUNT; i++) {
        double want = f(x[i]), error = fabs(y[i] - want) / ulp(want);
        if (!(error <= worst)) {
            worst = error;
            at = x[i];
        }
    }
    print_message("%s.%s=%s %s: %.2f ulp at %.9g\n", row->family, row->slot, row->variant, what, worst, at);
    assert_true(worst <= bound);
}

/* The last bit of exp, one addition, one division, and what leads to them: 3 ulp is one rounding each. */
#define BOUND 3.0

static void check_linear(const swan_kernel_row *row, const swan_kernels *k, swan_stream *stream, const float *x,
                         float *y)
{
    const float one = 1;
    for (int e = SWAN_EPI_GELU; e <= SWAN_EPI_SILU; e++) {
        swan_linear_args a = {
            .x = x, .w = &one, .y = y, .M = COUNT, .N = 1, .K = 1, .ldx = 1, .ldy = 1, .epilogue = (swan_epilogue)e};
        void *workspace = NULL;
        if (k->linear_f32.workspace) {
            size_t bytes = k->linear_f32.workspace(&a, stream);
            workspace = a.workspace = malloc(bytes);
            assert_non_null(workspace);
        }
        assert_int_equal(k->linear_f32.run(stream, &a), SWAN_OK);
        compare(row, e == SWAN_EPI_GELU ? "gelu" : "silu", x, y, e == SWAN_EPI_GELU ? gelu : silu, BOUND);
        free(workspace);
    }
}

static void check_map(const swan_kernel_row *row, const swan_kernels *k, swan_stream *stream, const float *x, float *y)
{
    for (int m = SWAN_MAP_SILU; m <= SWAN_MAP_CLAMP_TANH3; m++) {
        swan_elem_map_args a = {.x = x, .y = y, .n = COUNT, .map = (swan_map)m};
        assert_int_equal(k->elem_map.run(stream, &a), SWAN_OK);
        compare(row, m == SWAN_MAP_SILU ? "silu" : "3 tanh(x / 3)", x, y, m == SWAN_MAP_SILU ? silu : clamp, BOUND);
    }
}

/* Every variant of a slot on this processor, through an override. */
static void each_variant(void **state)
{
    (void)state;
    swan_pool *pool;
    assert_int_equal(swan_pool_open(1, &pool), SWAN_OK);
    swan_stream stream = {.pool = pool};
    float *x = malloc(COUNT * sizeof *x), *y = malloc(COUNT * sizeof *y);
    assert_true(x && y);
    fill(x, 110); /* past where silu and gelu leave the range of floats */
    const swan_kernel_row *row;
    for (size_t i = 0; (row = swan_kernel_row_at(i)); i++) {
        bool linear = row->id == SWAN_SLOT_linear_f32, map = row->id == SWAN_SLOT_elem_map;
        if (!(linear || map) || row->format != SWAN_F32 || !(row->tested & SWAN_ARCH_CPU)) continue;
        /* the reference evaluates the published formula of gelu, which cancels in its tail */
        if (row->cpu & ~swan_kernel_cpu_features() || !strcmp(row->variant, "ref")) continue;
        char override[64];
        snprintf(override, sizeof override, "%s.%s=%s", row->family, row->slot, row->variant);
        swan_kernels k;
        assert_int_equal(swan_kernels_pick(SWAN_ARCH_CPU, SWAN_F32, swan_kernel_cpu_features(), override, &k), SWAN_OK);
        if (linear) check_linear(row, &k, &stream, x, y);
        if (map) check_map(row, &k, &stream, x, y);
    }
    free(x);
    free(y);
    swan_pool_close(pool);
}

/* A key whose score is s beside one whose score is 0: out = 1 / (1 + e^s) with values 0 and 1, in one head of one
 * channel. */
static void weights_of_attention(void **state)
{
    (void)state;
    swan_pool *pool;
    assert_int_equal(swan_pool_open(1, &pool), SWAN_OK);
    swan_stream stream = {.pool = pool};
    swan_kernels k;
    assert_int_equal(swan_kernels_pick(SWAN_ARCH_CPU, SWAN_F32, swan_kernel_cpu_features(), NULL, &k), SWAN_OK);
    const float keys[2] = {1, 0}, values[2] = {0, 1};
    float q[1000], out[1000];
    for (int i = 0; i < 1000; i++) q[i] = (float)i * 0.08f;
    swan_attn_dense_args a = {.q = q,
                              .k = keys,
                              .v = values,
                              .out = out,
                              .scale = 1,
                              .Lq = 1000,
                              .Lk = 2,
                              .heads = 1,
                              .head_dim = 1,
                              .ldq = 1,
                              .ldk = 1,
                              .ldv = 1,
                              .ldo = 1};
    void *workspace = NULL;
    if (k.attn_dense.workspace) {
        workspace = a.workspace = malloc(k.attn_dense.workspace(&a, &stream));
        assert_non_null(workspace);
    }
    assert_int_equal(k.attn_dense.run(&stream, &a), SWAN_OK);
    for (int i = 0; i < 1000; i++) {
        double want = 1 / (1 + exp((double)q[i]));
        assert_true(fabs(out[i] - want) <= 2 * ulp(want));
    }
    free(workspace);
    swan_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_variant),
        cmocka_unit_test(weights_of_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
