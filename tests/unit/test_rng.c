/* The generator against what PyTorch drew (tools/fixtures/rng.py). Run from the repository's root. */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"

/* Ours are the exact values rounded once; PyTorch's vector functions are off by up to one unit in the last place, which
 * is 4.8e-7 for |x| in [4, 8). */
#define NORMAL_BOUND 5e-7

static const size_t sizes[] = {1, 15, 16, 17, 1, 2, 100, 4096};
static const size_t coarse_sizes[] = {1, 15, 16, 17, 100, 1, 2048};

static float *read_floats(const char *path, size_t n)
{
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s is missing: run the tests from the repository's root", path);
    float *x = malloc((n + 1) * sizeof *x);
    size_t got = fread(x, sizeof *x, n + 1, f); /* one more: the file must end there */
    fclose(f);
    assert_int_equal(got, n);
    return x;
}

static void test_matches_pytorch(void **state)
{
    (void)state;
    static const uint64_t seeds[] = {0, 1024, UINT64_C(1) << 31, (UINT64_C(1) << 32) - 1, UINT64_C(12345678901)};
    for (size_t s = 0; s < sizeof seeds / sizeof *seeds; s++) {
        char path[128];
        snprintf(path, sizeof path, "tests/data/rng/normals_%" PRIu64 ".f32", seeds[s]);
        size_t total = 5, at = 5;
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) total += sizes[k];
        for (size_t k = 0; k < sizeof coarse_sizes / sizeof *coarse_sizes; k++) total += coarse_sizes[k];
        float *want = read_floats(path, total);
        float got[4096];
        swan_rng rng;
        swan_rng_seed(&rng, seeds[s]);
        swan_rng_uniform_f32(&rng, got, 5);
        assert_memory_equal(got, want, 5 * sizeof *got);
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            swan_rng_normal_f32(&rng, got, sizes[k]);
            for (size_t i = 0; i < sizes[k]; i++)
                if (!(fabs((double)got[i] - (double)want[at + i]) <= NORMAL_BOUND))
                    fail_msg("seed %" PRIu64 ", randn(%zu)[%zu]: %.9g, PyTorch %.9g", seeds[s], sizes[k], i,
                             (double)got[i], (double)want[at + i]);
            at += sizes[k];
        }
        for (size_t k = 0; k < sizeof coarse_sizes / sizeof *coarse_sizes; k++) {
            swan_rng_normal_bf16_as_f32(&rng, got, coarse_sizes[k]);
            if (memcmp(got, want + at, coarse_sizes[k] * sizeof *got) != 0)
                fail_msg("seed %" PRIu64 ": bf16 randn(%zu) differs from PyTorch's", seeds[s], coarse_sizes[k]);
            at += coarse_sizes[k];
        }
        free(want);
    }
}

/* As many values as the noise of an 81-frame 832x480 video needs, then bit-equal uniforms: no draw was lost on the way. */
static void test_far_into_the_stream(void **state)
{
    (void)state;
    size_t n = 2100000;
    float *want = read_floats("tests/data/rng/far.f32", 48), *got = malloc(n * sizeof *got);
    swan_rng rng;
    swan_rng_seed(&rng, 5);
    swan_rng_normal_f32(&rng, got, n);
    for (size_t i = 0; i < 32; i++) assert_true(fabs((double)got[n - 32 + i] - (double)want[i]) <= NORMAL_BOUND);
    swan_rng_uniform_f32(&rng, got, 16);
    assert_memory_equal(got, want + 32, 16 * sizeof *got);
    free(want);
    free(got);
}

static void test_seed_counts_modulo_2_32(void **state)
{
    (void)state;
    swan_rng a, b;
    swan_rng_seed(&a, 7);
    swan_rng_seed(&b, (UINT64_C(0xABCD) << 32) | 7);
    for (int i = 0; i < 1300; i++) assert_int_equal(swan_rng_u32(&a), swan_rng_u32(&b));
    float x;
    swan_rng_normal_f32(&a, &x, 1);
    assert_true(a.has_normal);
    swan_rng_seed(&a, 7); /* seeding forgets the kept value */
    assert_false(a.has_normal);
}

static void test_zero_values_draw_nothing(void **state)
{
    (void)state;
    swan_rng a, b;
    swan_rng_seed(&a, 3);
    swan_rng_seed(&b, 3);
    swan_rng_normal_f32(&a, NULL, 0);
    swan_rng_normal_bf16_as_f32(&a, NULL, 0);
    swan_rng_uniform_f32(&a, NULL, 0);
    assert_int_equal(swan_rng_u32(&a), swan_rng_u32(&b));
}

static void test_random_seed(void **state)
{
    (void)state;
    uint64_t seed[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(swan_rng_random_seed(&seed[i]), SWAN_OK);
        assert_true(seed[i] <= UINT32_MAX);
    }
    /* four equal ones by chance: 2^-96 */
    assert_false(seed[0] == seed[1] && seed[1] == seed[2] && seed[2] == seed[3]);
}

/* Blocks are the C library's functions in double, rounded: over every uniform there is of 2^24, as radius and as angle. */
static void test_blocks_are_exact(void **state)
{
    (void)state;
    const float two_pi = 6.28318530717958647692f;
    int off = 0;
    for (uint32_t k = 0; k < 1u << 24; k += 8) {
        float x[16];
        double radius[8], theta[8];
        for (uint32_t j = 0; j < 8; j++) {
            x[j] = (float)(k + j) * 0x1p-24f;
            x[j + 8] = (float)((k + j) * 5u & 0xFFFFFFu) * 0x1p-24f; /* a permutation */
            radius[j] = sqrt(-2.0 * log(1.0 - (double)x[j]));
            theta[j] = (double)(two_pi * x[j + 8]);
        }
        swan_rng_normal_blocks(x, 1);
        for (int j = 0; j < 8; j++) {
            float c = (float)(radius[j] * cos(theta[j])) + 0.0f, s = (float)(radius[j] * sin(theta[j])) + 0.0f;
            off += c != x[j];
            off += s != x[j + 8];
            assert_true(fabs((double)c - (double)x[j]) <= NORMAL_BOUND && fabs((double)s - (double)x[j + 8]) <= NORMAL_BOUND);
        }
    }
    print_message("  %d of 33554432 values are another fp32 number\n", off);
    assert_true(off <= 3); /* a double's last units decide one rounding in some 2^28 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches_pytorch),
        cmocka_unit_test(test_far_into_the_stream), cmocka_unit_test(test_blocks_are_exact),
        cmocka_unit_test(test_seed_counts_modulo_2_32),
        cmocka_unit_test(test_zero_values_draw_nothing),
        cmocka_unit_test(test_random_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
