/* The frame queue: order, back pressure, failures and cancellation across threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "media/frame_queue.h"

enum { FRAME = 1000, CAPACITY = 3 };

static void nap(long milliseconds)
{
    struct timespec t = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* A consumer that checks what it gets. The gate, while closed, keeps it inside its first frame. */
typedef struct sink {
    atomic_bool gate_closed;
    atomic_int consumed, pushed, most_ahead;
    int fail_at; /* -1: never */
    int broken;  /* frames with wrong contents or out of order */
    pthread_t thread;
} sink;

static swan_status take(void *user, int64_t index, const void *frame)
{
    sink *s = user;
    s->thread = pthread_self();
    while (atomic_load(&s->gate_closed)) nap(1);
    const uint8_t *bytes = frame;
    for (int i = 0; i < FRAME; i++) s->broken += bytes[i] != (uint8_t)(index * 7 + i);
    s->broken += (uintptr_t)frame % 64 != 0;
    if (index == s->fail_at) return SWAN_FAIL(SWAN_E_IO, "clip.mp4: frame %d hit the end of the disk", (int)index);
    int ahead = atomic_load(&s->pushed) - atomic_load(&s->consumed);
    if (ahead > atomic_load(&s->most_ahead)) atomic_store(&s->most_ahead, ahead);
    atomic_fetch_add(&s->consumed, 1);
    return SWAN_OK;
}

static swan_status produce(swan_frame_queue *q, sink *s, int from, int to)
{
    for (int t = from; t < to; t++) {
        void *frame;
        SWAN_TRY(swan_frame_queue_slot(q, &frame));
        for (int i = 0; i < FRAME; i++) ((uint8_t *)frame)[i] = (uint8_t)(t * 7 + i);
        atomic_fetch_add(&s->pushed, 1);
        SWAN_TRY(swan_frame_queue_push(q));
    }
    return SWAN_OK;
}

static swan_frame_queue *open_queue(sink *s, bool gate_closed, int fail_at)
{
    memset(s, 0, sizeof *s);
    atomic_store(&s->gate_closed, gate_closed);
    s->fail_at = fail_at;
    swan_frame_queue *q;
    assert_int_equal(swan_frame_queue_open(FRAME, CAPACITY, take, s, &q), SWAN_OK);
    return q;
}

static void test_all_frames_in_order(void **state)
{
    (void)state;
    sink s;
    swan_frame_queue *q = open_queue(&s, false, -1);
    assert_int_equal(produce(q, &s, 0, 500), SWAN_OK);
    assert_int_equal(swan_frame_queue_close(q), SWAN_OK);
    assert_int_equal(atomic_load(&s.consumed), 500);
    assert_int_equal(s.broken, 0);
    assert_true(atomic_load(&s.most_ahead) <= CAPACITY);
    assert_false(pthread_equal(s.thread, pthread_self()));
    assert_int_equal(swan_frame_queue_close(NULL), SWAN_OK);
    q = open_queue(&s, false, -1); /* none at all */
    assert_int_equal(swan_frame_queue_close(q), SWAN_OK);
}

static void *open_gate_later(void *arg)
{
    nap(50);
    atomic_store(&((sink *)arg)->gate_closed, false);
    return NULL;
}

static void test_a_full_queue_waits(void **state)
{
    (void)state;
    sink s;
    swan_frame_queue *q = open_queue(&s, true, -1);
    assert_int_equal(produce(q, &s, 0, CAPACITY), SWAN_OK); /* as many as fit: nothing waits yet */
    assert_int_equal(atomic_load(&s.consumed), 0);
    assert_int_equal(swan_frame_queue_push(q), SWAN_E_BUG); /* without a slot */
    pthread_t opener;
    pthread_create(&opener, NULL, open_gate_later, &s);
    void *first, *again;
    assert_int_equal(swan_frame_queue_slot(q, &first), SWAN_OK);
    assert_true(atomic_load(&s.consumed) >= 1); /* it waited for a place */
    assert_int_equal(swan_frame_queue_slot(q, &again), SWAN_OK);
    assert_ptr_equal(first, again);
    assert_int_equal(produce(q, &s, CAPACITY, 10), SWAN_OK);
    pthread_join(opener, NULL);
    assert_int_equal(swan_frame_queue_close(q), SWAN_OK);
    assert_int_equal(atomic_load(&s.consumed), 10);
    assert_int_equal(s.broken, 0);
}

static void test_a_failure_reaches_the_producer(void **state)
{
    (void)state;
    sink s;
    swan_frame_queue *q = open_queue(&s, false, 5);
    assert_int_equal(produce(q, &s, 0, 1000), SWAN_E_IO);
    assert_string_equal(swan_last_error(), "clip.mp4: frame 5 hit the end of the disk");
    assert_true(atomic_load(&s.pushed) <= 6 + CAPACITY);
    SWAN_FAIL(SWAN_E_BUG, "another message");
    assert_int_equal(swan_frame_queue_push(q), SWAN_E_IO);
    swan_frame_queue_cancel(q); /* does not replace the cause */
    assert_int_equal(swan_frame_queue_close(q), SWAN_E_IO);
    assert_string_equal(swan_last_error(), "clip.mp4: frame 5 hit the end of the disk");
    assert_int_equal(atomic_load(&s.consumed), 5);

    q = open_queue(&s, false, 2); /* the last frame fails: only close can tell */
    assert_int_equal(produce(q, &s, 0, 3), SWAN_OK);
    assert_int_equal(swan_frame_queue_close(q), SWAN_E_IO);
}

typedef struct canceller {
    swan_frame_queue *q;
    sink *s;
} canceller;

static void *cancel_later(void *arg)
{
    canceller *c = arg;
    nap(50);
    swan_frame_queue_cancel(c->q);
    atomic_store(&c->s->gate_closed, false);
    return NULL;
}

static void test_cancel_wakes_everybody(void **state)
{
    (void)state;
    sink s;
    swan_frame_queue *q = open_queue(&s, true, -1);
    canceller c = {q, &s};
    pthread_t thread;
    pthread_create(&thread, NULL, cancel_later, &c);
    assert_int_equal(produce(q, &s, 0, 1000), SWAN_E_CANCELLED); /* was waiting for a place */
    pthread_join(thread, NULL);
    swan_frame_queue_cancel(q);
    void *frame;
    assert_int_equal(swan_frame_queue_slot(q, &frame), SWAN_E_CANCELLED);
    assert_int_equal(swan_frame_queue_close(q), SWAN_E_CANCELLED);
    assert_in_range(atomic_load(&s.consumed), 0, 1); /* the rest was dropped */

    q = open_queue(&s, false, -1); /* a consumer that waits for frames wakes too */
    swan_frame_queue_cancel(q);
    assert_int_equal(swan_frame_queue_close(q), SWAN_E_CANCELLED);
}

static void test_impossible_sizes(void **state)
{
    (void)state;
    swan_frame_queue *q;
    assert_int_equal(swan_frame_queue_open(FRAME, 0, take, NULL, &q), SWAN_E_BUG);
    assert_int_equal(swan_frame_queue_open(0, 2, take, NULL, &q), SWAN_E_BUG);
    assert_int_equal(swan_frame_queue_open(SIZE_MAX / 2, 2, take, NULL, &q), SWAN_E_BUG);
    assert_null(q);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they stop at such a request */
    assert_int_equal(swan_frame_queue_open(SIZE_MAX / 4096, 1000, take, NULL, &q), SWAN_E_NOMEM);
    assert_null(q);
#endif
}

/* Several places filled at a time, in memory of the caller's, pushed later and in order. */
static void filled_ahead(void **state)
{
    (void)state;
    sink s = {.fail_at = -1};
    atomic_init(&s.gate_closed, false);
    size_t bytes = swan_frame_queue_bytes(FRAME, CAPACITY);
    assert_true(bytes >= (size_t)FRAME * CAPACITY);
    uint8_t *memory = aligned_alloc(64, bytes);
    assert_non_null(memory);
    swan_frame_queue *q;
    assert_int_equal(swan_frame_queue_open_over(memory, FRAME, CAPACITY, take, &s, &q), SWAN_OK);
    for (int t = 0; t < 30; t += 2) {
        void *frame[2];
        for (int k = 0; k < 2; k++) {
            assert_int_equal(swan_frame_queue_slot_ahead(q, k, &frame[k]), SWAN_OK);
            assert_true((uint8_t *)frame[k] >= memory && (uint8_t *)frame[k] + FRAME <= memory + bytes);
        }
        assert_ptr_not_equal(frame[0], frame[1]);
        for (int k = 1; k >= 0; k--)
            for (int i = 0; i < FRAME; i++) ((uint8_t *)frame[k])[i] = (uint8_t)((t + k) * 7 + i);
        for (int k = 0; k < 2; k++) assert_int_equal(swan_frame_queue_push(q), SWAN_OK);
    }
    void *frame;
    assert_int_equal(swan_frame_queue_slot_ahead(q, CAPACITY, &frame), SWAN_E_BUG);
    assert_int_equal(swan_frame_queue_close(q), SWAN_OK);
    assert_int_equal(atomic_load(&s.consumed), 30);
    assert_int_equal(s.broken, 0);
    free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filled_ahead),
        cmocka_unit_test(test_all_frames_in_order),
        cmocka_unit_test(test_a_full_queue_waits),
        cmocka_unit_test(test_a_failure_reaches_the_producer),
        cmocka_unit_test(test_cancel_wakes_everybody),
        cmocka_unit_test(test_impossible_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
