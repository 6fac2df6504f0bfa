/* The kernel table, the arena and the thread pool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "kernel/table.h"

#define ALL_CPU (SWAN_CPU_AVX2 | SWAN_CPU_AVX512)

/* ---- table ---- */

static void list_is_sound(void **state)
{
    (void)state;
    const swan_kernel_row *row;
    size_t n = 0;
    for (; (row = swan_kernel_row_at(n)); n++) {
        assert_non_null(row->run);
        assert_true(row->id < SWAN_SLOT_COUNT);
        /* what is picked on a processor has been tested there; a GPU's rows say on which they were run, none at first */
        if (row->picked & SWAN_ARCH_CPU) assert_int_equal(row->tested, SWAN_ARCH_CPU);
        for (size_t i = 0; i < n; i++) {
            const swan_kernel_row *other = swan_kernel_row_at(i);
            assert_false(other->id == row->id && other->format == row->format && !strcmp(other->variant, row->variant));
        }
    }
    assert_true(n >= SWAN_SLOT_COUNT);
    assert_null(swan_kernel_row_at(n + 1000));
}

/* Any processor has a row for every slot, without any CPU feature. */
static void every_slot_is_filled(void **state)
{
    (void)state;
    const unsigned features[] = {0, SWAN_CPU_AVX2, ALL_CPU};
    for (size_t f = 0; f < 3; f++) {
        swan_kernels k;
        assert_int_equal(swan_kernels_pick(SWAN_ARCH_CPU, SWAN_F32, features[f], NULL, &k), SWAN_OK);
        assert_int_equal(k.arch, SWAN_ARCH_CPU);
        assert_int_equal(k.format, SWAN_F32);
        for (int slot = 0; slot < SWAN_SLOT_COUNT; slot++) {
            const swan_kernel_row *row = swan_kernels_row(&k, (swan_slot)slot);
            assert_non_null(row);
            assert_int_equal(row->id, slot);
            assert_int_equal(row->cpu & ~features[f], 0);
        }
        assert_ptr_equal(k.attn_dense.row, swan_kernels_row(&k, SWAN_SLOT_attn_dense));
        assert_true(k.attn_dense.run != NULL);
    }
    assert_null(swan_kernels_row(&(swan_kernels){0}, SWAN_SLOT_COUNT));
}

/* The last usable row of the list wins, for every slot. */
static void later_rows_win(void **state)
{
    (void)state;
    swan_kernels k;
    assert_int_equal(swan_kernels_pick(SWAN_ARCH_CPU, SWAN_F32, SWAN_CPU_AVX2, NULL, &k), SWAN_OK);
    for (int slot = 0; slot < SWAN_SLOT_COUNT; slot++) {
        const swan_kernel_row *row, *last = NULL;
        for (size_t i = 0; (row = swan_kernel_row_at(i)); i++)
            if ((int)row->id == slot && row->format == SWAN_F32 && (row->picked & SWAN_ARCH_CPU) && !(row->cpu & ~SWAN_CPU_AVX2))
                last = row;
        assert_ptr_equal(swan_kernels_row(&k, (swan_slot)slot), last);
    }
}

/* No row of the wrong format or device is ever put into a table. */
static void tables_do_not_mix(void **state)
{
    (void)state;
    const unsigned archs[] = {SWAN_ARCH_CPU, SWAN_ARCH_SM80, SWAN_ARCH_SM90};
    for (size_t i = 0; i < 6; i++) {
        swan_kernels k;
        swan_dtype format = i % 2 ? SWAN_BF16 : SWAN_F32;
        assert_int_equal(swan_kernels_pick(archs[i / 2], format, ALL_CPU, NULL, &k), SWAN_OK);
        for (int slot = 0; slot < SWAN_SLOT_COUNT; slot++) {
            const swan_kernel_row *row = swan_kernels_row(&k, (swan_slot)slot);
            if (row) assert_true(row->format == format && (row->picked & archs[i / 2]));
        }
    }
}

static void overrides(void **state)
{
    (void)state;
    swan_kernels plain, k;
    assert_int_equal(swan_kernels_pick(SWAN_ARCH_CPU, SWAN_F32, ALL_CPU, NULL, &plain), SWAN_OK);
    assert_int_equal(swan_kernels_pick(SWAN_ARCH_CPU, SWAN_F32, ALL_CPU, "attn.dense=ref,linear.bf16=ref", &k), SWAN_OK);
    for (int slot = 0; slot < SWAN_SLOT_COUNT; slot++) {
        const swan_kernel_row *row = swan_kernels_row(&k, (swan_slot)slot);
        if (slot == SWAN_SLOT_attn_dense || slot == SWAN_SLOT_linear_bf16) assert_string_equal(row->variant, "ref");
        else assert_ptr_equal(row, swan_kernels_row(&plain, (swan_slot)slot));
    }
    assert_true(k.attn_dense.workspace != NULL);
    assert_true(k.linear_bf16.workspace == NULL); /* the other row's function does not stay behind */
    /* nothing, and nothing between commas */
    assert_int_equal(swan_kernels_pick(SWAN_ARCH_CPU, SWAN_F32, 0, "", &k), SWAN_OK);
    assert_int_equal(swan_kernels_pick(SWAN_ARCH_CPU, SWAN_F32, 0, ",norm.rms=ref,,", &k), SWAN_OK);
    /* the later of two wins */
    const swan_kernel_row *last = plain.linear_f32.row;
    char text[128];
    snprintf(text, sizeof text, "linear.f32=ref,linear.f32=%s", last->variant);
    assert_int_equal(swan_kernels_pick(SWAN_ARCH_CPU, SWAN_F32, ALL_CPU, text, &k), SWAN_OK);
    assert_ptr_equal(k.linear_f32.row, last);
}

static void refuses(unsigned features, const char *text, const char *part1, const char *part2)
{
    swan_kernels k;
    assert_int_equal(swan_kernels_pick(SWAN_ARCH_CPU, SWAN_F32, features, text, &k), SWAN_E_INVALID);
    if (!strstr(swan_last_error(), part1) || !strstr(swan_last_error(), part2))
        fail_msg("\"%s\": the message is \"%s\"", text, swan_last_error());
}

static void bad_overrides(void **state)
{
    (void)state;
    refuses(0, "attn.dense", "\"attn.dense\"", "family.slot=variant");
    refuses(0, "attn.dense=ref,x", "\"x\"", "family.slot=variant");
    refuses(0, "attn.dens=ref", "\"attn.dens\"", "no slot");
    refuses(0, "attn.denser=ref", "\"attn.denser\"", "no slot");
    refuses(0, "attn=ref", "\"attn\"", "no slot");
    refuses(0, "=ref", "\"\"", "no slot");
    refuses(0, "attn.dense=", "attn.dense", "there is: ref");
    refuses(0, "attn.dense=re", "\"re\"", "there is: ref");
    refuses(0, "attn.dense=reff", "\"reff\"", "there is: ref");
    refuses(0, "norm.rms=ref,attn.dense=fast,norm.layer=ref", "\"fast\"", "attn.dense");
    /* what this processor cannot run is not offered */
    const swan_kernel_row *row;
    for (size_t i = 0; (row = swan_kernel_row_at(i)); i++) {
        if (!row->cpu) continue;
        char text[128], quoted[64];
        snprintf(text, sizeof text, "%s.%s=%s", row->family, row->slot, row->variant);
        snprintf(quoted, sizeof quoted, "\"%s\"", row->variant);
        refuses(0, text, quoted, "there is: ref");
        const char *offered = strstr(swan_last_error(), "there is:");
        assert_null(strstr(offered, row->variant));
    }
}

static void features_are_ordered(void **state)
{
    (void)state;
    unsigned features = swan_kernel_cpu_features();
    assert_int_equal(features & ~ALL_CPU, 0);
    if (features & SWAN_CPU_AVX512) assert_true(features & SWAN_CPU_AVX2);
}

/* ---- arena ---- */

/* What a forward pass does: blocks of odd sizes, nested marks. */
static size_t use_arena(swan_arena *a, uint8_t **blocks)
{
    int n = 0;
    assert_non_null(blocks[n++] = swan_arena_alloc(a, 1));
    size_t outer = swan_arena_mark(a);
    assert_non_null(blocks[n++] = swan_arena_alloc(a, 1000));
    size_t inner = swan_arena_mark(a);
    assert_non_null(blocks[n++] = swan_arena_alloc(a, 64));
    assert_non_null(blocks[n++] = swan_arena_alloc(a, 0));
    assert_non_null(blocks[n++] = swan_arena_alloc(a, 65));
    swan_arena_release(a, inner);
    assert_int_equal(swan_arena_mark(a), inner);
    assert_non_null(blocks[n++] = swan_arena_alloc(a, 63));
    swan_arena_release(a, outer);
    assert_non_null(blocks[n++] = swan_arena_alloc(a, 300));
    return a->peak;
}

static void dry_equals_real(void **state)
{
    (void)state;
    uint8_t *dry_at[8], *real_at[8];
    swan_arena dry, real;
    swan_arena_dry(&dry, "plan");
    size_t peak = use_arena(&dry, dry_at);
    assert_true(peak >= 1 + 1000 + 64 + 65);
    assert_int_equal(swan_arena_reserve(&real, "run", peak), SWAN_OK);
    assert_int_equal(use_arena(&real, real_at), peak); /* it fits, and exactly */
    assert_int_equal(real.used, dry.used);
    for (int i = 0; i < 7; i++) {
        assert_int_equal((uintptr_t)real_at[i] % SWAN_ARENA_ALIGN, 0);
        assert_int_equal((uintptr_t)dry_at[i] % SWAN_ARENA_ALIGN, 0);
        assert_int_equal(real_at[i] - real_at[0], dry_at[i] - dry_at[0]);
    }
    swan_arena_free(&real);
    assert_null(real.base);
}

static void arena_limits(void **state)
{
    (void)state;
    swan_arena a;
    assert_int_equal(swan_arena_reserve(&a, "little", 4096), SWAN_OK);
    memset(swan_arena_alloc(&a, 100), 1, 100);
    size_t used = a.used;
    assert_null(swan_arena_alloc(&a, 4096));
    assert_non_null(strstr(swan_last_error(), "little"));
    assert_null(swan_arena_alloc(&a, SIZE_MAX));
    assert_null(swan_arena_alloc(&a, SIZE_MAX - 64));
    assert_int_equal(a.used, used);
    swan_arena_free(&a);
    assert_int_equal(swan_arena_reserve(&a, "absurd", SIZE_MAX), SWAN_E_NOMEM);
    assert_non_null(strstr(swan_last_error(), "absurd"));
    assert_null(a.base);
    swan_arena_free(&a);
    assert_int_equal(swan_arena_reserve(&a, "none", 0), SWAN_OK);
    swan_arena_free(&a);
    _Alignas(64) uint8_t memory[128];
    swan_arena_over(&a, "borrowed", memory, sizeof memory, false);
    assert_ptr_equal(swan_arena_alloc(&a, 1), memory);
    swan_arena_free(&a); /* and the memory stays */
}

/* ---- pool ---- */

#define TASKS 1000
typedef struct tally {
    atomic_int ran[TASKS];
    atomic_int total, bad_workers;
    atomic_int late; /* tasks that found cancel set when they began */
    int threads;
    atomic_bool cancel;
    int cancel_at;
} tally;

static void count_task(void *arg, int64_t index, int worker)
{
    tally *t = arg;
    if (atomic_load(&t->cancel)) atomic_fetch_add(&t->late, 1);
    atomic_fetch_add(&t->ran[index], 1);
    if (worker < 0 || worker >= t->threads) atomic_fetch_add(&t->bad_workers, 1);
    if (atomic_fetch_add(&t->total, 1) + 1 == t->cancel_at) atomic_store(&t->cancel, true);
}

static void every_task_once(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 5; threads++) {
        swan_pool *pool;
        assert_int_equal(swan_pool_open(threads, &pool), SWAN_OK);
        assert_int_equal(swan_pool_threads(pool), threads);
        for (int count = 0; count <= TASKS; count = count * 3 + 1) {
            tally t = {.threads = threads};
            for (int again = 1; again <= 3; again++) {
                swan_pool_run(pool, count, count_task, &t, again == 2 ? &t.cancel : NULL);
                for (int i = 0; i < TASKS; i++) assert_int_equal(t.ran[i], i < count ? again : 0);
            }
            assert_int_equal(t.bad_workers, 0);
        }
        swan_pool_close(pool);
    }
}

static void cancelled_tasks_are_skipped(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        swan_pool *pool;
        assert_int_equal(swan_pool_open(threads, &pool), SWAN_OK);
        tally t = {.threads = threads, .cancel_at = 100};
        swan_pool_run(pool, TASKS, count_task, &t, &t.cancel);
        assert_true(t.total >= 100);
        if (threads == 1) assert_int_equal(t.total, 100);
        /* Others may run any number while the one that cancels is between its count and its store; once it is stored, each may
         * be past its look at it, for one task. */
        assert_true(t.late <= threads - 1);
        int before = t.total;
        swan_pool_run(pool, TASKS, count_task, &t, &t.cancel); /* set from the start */
        assert_int_equal(t.total, before);
        swan_pool_run(pool, TASKS, count_task, &t, NULL); /* and the pool still works */
        assert_int_equal(t.total, before + TASKS);
        swan_pool_close(pool);
    }
}

static void pool_limits(void **state)
{
    (void)state;
    swan_pool *pool;
    assert_int_equal(swan_pool_open(-1, &pool), SWAN_E_INVALID);
    assert_null(pool);
    assert_int_equal(swan_pool_open(5000, &pool), SWAN_E_INVALID);
    assert_non_null(strstr(swan_last_error(), "5000"));
    assert_int_equal(swan_pool_open(0, &pool), SWAN_OK);
    assert_int_equal(swan_pool_threads(pool), swan_pool_cores());
    assert_true(swan_pool_cores() >= 1);
    swan_pool_close(pool);
    swan_pool_close(NULL);
}

/* ---- a row through the table ---- */

static void a_call_through_the_table(void **state)
{
    (void)state;
    swan_kernels k;
    assert_int_equal(swan_kernels_pick(SWAN_ARCH_CPU, SWAN_F32, swan_kernel_cpu_features(), "vsa.coarse=ref", &k), SWAN_OK);
    swan_stream stream = {0};
    atomic_bool cancel = false;
    assert_int_equal(swan_pool_open(2, &stream.pool), SWAN_OK);
    stream.cancel = &cancel;
    const float q[4] = {1, 1, 1, 1}, key[4] = {0, 2, 1, 2}, v[4] = {1, 2, 3, 4};
    float out[4];
    int32_t index[8];
    double workspace[16];
    swan_vsa_coarse_args a = {.q = q, .k = key, .v = v, .out = out, .index = index, .scale = 1,
                              .tiles = 4, .topk = 2, .heads = 1, .head_dim = 1, .workspace = workspace};
    assert_true(k.vsa_coarse.workspace(&a, &stream) <= sizeof workspace);
    assert_int_equal(k.vsa_coarse.run(&stream, &a), SWAN_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(index[2 * i], 1);
        assert_int_equal(index[2 * i + 1], 3);
    }
    atomic_store(&cancel, true);
    assert_int_equal(k.vsa_coarse.run(&stream, &a), SWAN_E_CANCELLED);
    swan_pool_close(stream.pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_is_sound),     cmocka_unit_test(every_slot_is_filled),
        cmocka_unit_test(later_rows_win),    cmocka_unit_test(tables_do_not_mix),
        cmocka_unit_test(overrides),         cmocka_unit_test(bad_overrides),
        cmocka_unit_test(features_are_ordered), cmocka_unit_test(dry_equals_real),
        cmocka_unit_test(arena_limits),      cmocka_unit_test(every_task_once),
        cmocka_unit_test(cancelled_tasks_are_skipped), cmocka_unit_test(pool_limits),
        cmocka_unit_test(a_call_through_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
