/* After a session is opened its compute threads allocate nothing. This program has its own malloc and friends in front of the C
 * library's; a thread raises its seal around compute, and what it then asks for is counted. Sealed are: the pool's workers, all
 * the time; the session's thread from the first denoising step to the last frame, and while a prompt is encoded. Not sealed are
 * the calls of libraries on purpose: the tokenizer before encoding, the encoder on its own thread, opening and closing files. */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>

#include "session.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* ---- the seal ---- */

static _Thread_local int sealed;
static atomic_int broken;            /* allocations under a seal */
static atomic_size_t broken_bytes;   /* of the first of them */

#if !SANITIZED
static void seal_check(size_t bytes)
{
    if (sealed && atomic_fetch_add(&broken, 1) == 0) atomic_store(&broken_bytes, bytes);
}

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);
int posix_memalign(void **, size_t, size_t);
void *memalign(size_t, size_t);
void *aligned_alloc(size_t, size_t);

#define EXPORT __attribute__((visibility("default")))

EXPORT void *malloc(size_t n)
{
    seal_check(n);
    return __libc_malloc(n);
}

EXPORT void *calloc(size_t n, size_t size)
{
    seal_check(n * size);
    return __libc_calloc(n, size);
}

EXPORT void *realloc(void *p, size_t n)
{
    seal_check(n);
    return __libc_realloc(p, n);
}

EXPORT void *memalign(size_t align, size_t n)
{
    seal_check(n);
    return __libc_memalign(align, n);
}

EXPORT void *aligned_alloc(size_t align, size_t n) { return memalign(align, n); }

EXPORT int posix_memalign(void **out, size_t align, size_t n)
{
    *out = memalign(align, n);
    return *out ? 0 : ENOMEM;
}

EXPORT void free(void *p) { __libc_free(p); }
#endif

static void skip_when_sanitized(void)
{
    if (!SANITIZED) return;
    print_message("skipped: sanitizers have an allocator of their own\n"); /* check lists what stands behind "skipped: " */
    skip();
}

/* ---- the pool's workers ---- */

typedef struct everyone {
    atomic_int arrived;
    int threads, value;
} everyone;

/* Waits for the others, so that each worker takes exactly one. */
static void seal_worker(void *arg, int64_t index, int worker)
{
    everyone *e = arg;
    (void)index;
    if (worker > 0) sealed = e->value;
    atomic_fetch_add(&e->arrived, 1);
    while (atomic_load(&e->arrived) < e->threads) sched_yield();
}

static void seal_workers(test_run *r, int value)
{
    everyone e = {.threads = swan_pool_threads(r->session->pool), .value = value};
    swan_pool_run(r->session->pool, e.threads, seal_worker, &e, NULL);
}

/* ---- the session's thread ---- */

static bool seal_progress(void *user, const swan_progress *p)
{
    (void)user;
    if (p->phase == SWAN_PHASE_DENOISE && p->step == 0) sealed = 1;
    if (p->phase == SWAN_PHASE_DECODE && p->step == p->steps) sealed = 0; /* what follows is the encoder's end */
    return true;
}

static void expect_unbroken(const char *what)
{
    sealed = 0;
    if (atomic_load(&broken))
        fail_msg("%s: %d allocations, the first of %zu bytes", what, atomic_load(&broken), atomic_load(&broken_bytes));
}

static void sealed_run(const char *model, const char *const *settings)
{
    test_run r;
    int32_t *ids;
    int n;
    test_open(&r, model, settings);
    r.session->callbacks.progress = seal_progress;
    seal_workers(&r, 1);
    for (int run = 0; run < 2; run++) { /* the very first one as well */
        atomic_store(&broken, 0);
        r.frame_count = 0;
        assert_ok(swan_session_generate(r.session, "a fox in the snow", 1, NULL));
        expect_unbroken(model);
        assert_int_equal(r.frame_count, FRAMES);
    }
    ids = r.session->staging.text[SWAN_POSITIVE].ids;
    char *longest = test_long_prompt();
    assert_ok(swan_session_tokenize(r.engine, longest, ids, &n));
    free(longest);
    atomic_store(&broken, 0);
    swan_arena_release(&r.session->activations, 0);
    sealed = 1;
    swan_status status = swan_session_encode_tokens(r.session, SWAN_POSITIVE, n);
    expect_unbroken("text encoder");
    assert_int_equal(status, SWAN_OK);
    seal_workers(&r, 0);
    test_close(&r);
}

static void nothing_is_allocated(void **state)
{
    (void)state;
    skip_when_sanitized();
    static const char *const sparse[] = {"vsa_sparsity=0.5", NULL}, *const alone[] = {"threads=1", NULL};
    static const char *const parity[] = {"parity_bf16=true", NULL};
    static const char *const portable[] = {"kernels=attn.dense=ref,linear.f32=ref,conv.conv3x3=ref,norm.rms=ref", NULL};
    sealed_run("wan-tiny", NULL);
    sealed_run("wan-tiny", alone);
    sealed_run("wan-tiny", portable);
    sealed_run("fastwan-tiny", sparse);
    sealed_run("fastwan-tiny", parity);
}

/* ---- the seal itself ---- */

static void allocating_task(void *arg, int64_t index, int worker)
{
    (void)index;
    everyone *e = arg;
    atomic_fetch_add(&e->arrived, 1);
    while (atomic_load(&e->arrived) < e->threads) sched_yield();
    if (worker == e->value) free(malloc(100));
}

static void a_broken_seal_is_seen(void **state)
{
    (void)state;
    skip_when_sanitized();
    test_run r;
    test_open(&r, "wan-tiny", NULL);
    seal_workers(&r, 1);
    for (int worker = 0; worker < 2; worker++) {
        everyone e = {.threads = 2, .value = worker};
        atomic_store(&broken, 0);
        sealed = 1;
        swan_pool_run(r.session->pool, 2, allocating_task, &e, NULL);
        sealed = 0;
        assert_int_equal(atomic_load(&broken), 1);
    }
    void *volatile p = NULL;
    atomic_store(&broken, 0);
    sealed = 1;
    p = calloc(1, 8);
    p = realloc(p, 80);
    free(p);
    p = aligned_alloc(64, 64);
    free(p);
    int failed = posix_memalign((void **)(uintptr_t)&p, 64, 64);
    free(p);
    char *copy = strdup("through the library");
    free(copy);
    sealed = 0;
    assert_int_equal(failed, 0);
    assert_int_equal(atomic_load(&broken), 5);
    seal_workers(&r, 0);
    test_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_broken_seal_is_seen),
        cmocka_unit_test(nothing_is_allocated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
