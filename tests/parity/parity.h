/* What the parity tests share: kernels and arenas for one run, fixtures, and the distance that the bounds are about. */
#ifndef SWAN_TESTS_PARITY_PARITY_H
#define SWAN_TESTS_PARITY_PARITY_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above before it */
#include <cmocka.h>

#include "base/pool.h"
#include "ckpt/npy.h"
#include "ckpt/safetensors.h"
#include "model/weights.h"
#include "ops/ops.h"

#define PARITY_DATA "tests/parity/data/"

#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        swan_status assert_ok_status_ = (call);                                                                        \
        if (assert_ok_status_ != SWAN_OK)                                                                              \
            fail_msg("%s: %s: %s", #call, swan_status_name(assert_ok_status_), swan_last_error());                     \
    } while (0)

/* fp32 on the CPU: features 0 takes the portable rows, ~0u the fastest that this machine has. */
typedef struct parity_run {
    swan_pool *pool;
    swan_stream stream;
    swan_kernels kernels;
    swan_arena arena; /* activations; dry until parity_reserve */
    swan_ctx ctx;
} parity_run;

static inline void parity_open(parity_run *r, unsigned features)
{
    *r = (parity_run){0};
    assert_ok(swan_pool_open(2, &r->pool));
    assert_ok(swan_kernels_pick(SWAN_ARCH_CPU, SWAN_F32, features & swan_kernel_cpu_features(), NULL, &r->kernels));
    r->stream = (swan_stream){.pool = r->pool};
    swan_arena_dry(&r->arena, "activations");
    r->ctx = (swan_ctx){.mode = SWAN_DRY, .kernels = &r->kernels, .stream = &r->stream, .arena = &r->arena};
}

/* After a dry pass: the memory it asked for, and RUN. */
static inline void parity_reserve(parity_run *r)
{
    size_t peak = r->arena.peak;
    assert_ok(swan_arena_reserve(&r->arena, "activations", peak));
    r->ctx.mode = SWAN_RUN;
}

static inline void parity_close(parity_run *r)
{
    swan_arena_free(&r->arena);
    swan_pool_close(r->pool);
}

/* A fixture; free(t.data). */
static inline swan_tensor parity_load(const char *name)
{
    char path[256];
    swan_tensor t;
    snprintf(path, sizeof path, PARITY_DATA "%s", name);
    assert_ok(swan_npy_load(path, &t));
    return t;
}

/* |got - want| / |want| in fp64; infinite when anything is not a number. */
static inline double parity_distance(const float *got, const float *want, int64_t n)
{
    double d = 0, w = 0;
    for (int64_t i = 0; i < n; i++) {
        double e = (double)got[i] - (double)want[i];
        d += e * e;
        w += (double)want[i] * (double)want[i];
    }
    double distance = sqrt(d / w);
    return isfinite(distance) ? distance : INFINITY;
}

static inline void parity_expect(const char *what, const float *got, const swan_tensor *want, double bound)
{
    assert_int_equal(want->dtype, SWAN_F32);
    double distance = parity_distance(got, want->data, swan_tensor_count(want));
    print_message("%-28s relative L2 %.2e (bound %.0e)\n", what, distance, bound);
    if (!(distance <= bound)) fail_msg("%s: relative L2 %.3e, bound %.0e", what, distance, bound);
}

/* Sizes and then fills the arena of a model's weights; bind is called twice, dry and wet. */
#define PARITY_BIND(loader, weights, call)                                                                             \
    do {                                                                                                               \
        swan_arena_dry(&(weights), "weights");                                                                         \
        (loader).arena = &(weights);                                                                                   \
        assert_ok(call);                                                                                               \
        size_t parity_peak_ = (weights).peak;                                                                          \
        assert_ok(swan_arena_reserve(&(weights), "weights", parity_peak_));                                            \
        assert_ok(call);                                                                                               \
        assert_int_equal((weights).peak, parity_peak_);                                                                \
    } while (0)

#endif
