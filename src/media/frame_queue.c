/* Invariants, all under `lock`:
 * 1. Frames first .. first + count - 1 (modulo capacity) are queued; frame `first` may be in the consumer's hands. It counts until
 *    the consumer returns, so the producer's place, first + count, is never one that is read.
 * 2. The consumer thread ends when there is a `failure`, or when `closing` is set and count is 0. */
#include "media/frame_queue.h"

#include <stdlib.h>
#include <string.h>

#include "media/thread.h"

enum { MAX_CAPACITY = 1024 };

struct swan_frame_queue {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* one producer and one consumer: whoever waits, waits for the other */
    pthread_t thread;
    swan_frame_consumer *consumer;
    void *user;
    uint8_t *frames;
    bool owned;    /* frames are ours */
    size_t stride; /* bytes from one frame to the next */
    int capacity, first, count;
    bool closing;
    swan_failure failure;
};

static void *consume(void *arg)
{
    swan_frame_queue *q = arg;
    int64_t index = 0;
    pthread_mutex_lock(&q->lock);
    for (;;) {
        while (!q->failure.status && !q->count && !q->closing) pthread_cond_wait(&q->changed, &q->lock);
        if (q->failure.status || !q->count) break;
        const void *frame = q->frames + (size_t)q->first * q->stride;
        pthread_mutex_unlock(&q->lock);
        swan_status status = q->consumer(q->user, index++, frame);
        pthread_mutex_lock(&q->lock);
        swan_status_keep(&q->failure, status);
        q->first = (q->first + 1) % q->capacity;
        q->count--;
        pthread_cond_broadcast(&q->changed);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

static size_t stride_of(size_t frame_bytes) { return (frame_bytes + 63) / 64 * 64; }

size_t swan_frame_queue_bytes(size_t frame_bytes, int capacity) { return stride_of(frame_bytes) * (size_t)capacity; }

swan_status swan_frame_queue_open(size_t frame_bytes, int capacity, swan_frame_consumer *consumer, void *user,
                                  swan_frame_queue **out)
{
    return swan_frame_queue_open_over(NULL, frame_bytes, capacity, consumer, user, out);
}

swan_status swan_frame_queue_open_over(void *memory, size_t frame_bytes, int capacity, swan_frame_consumer *consumer,
                                       void *user, swan_frame_queue **out)
{
    *out = NULL;
    if (capacity < 1 || capacity > MAX_CAPACITY || !frame_bytes || frame_bytes > SIZE_MAX / MAX_CAPACITY - 64)
        return SWAN_BUG("frame queue of %d frames of %zu bytes", capacity, frame_bytes);
    swan_frame_queue *q = calloc(1, sizeof *q);
    if (q) q->frames = memory ? memory : aligned_alloc(64, swan_frame_queue_bytes(frame_bytes, capacity));
    if (!q || !q->frames) {
        free(q);
        return SWAN_FAIL(SWAN_E_NOMEM, "out of memory for %d frames of %zu bytes before the encoder", capacity,
                         frame_bytes);
    }
    q->consumer = consumer;
    q->user = user;
    q->stride = stride_of(frame_bytes);
    q->owned = !memory;
    q->capacity = capacity;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->changed, NULL);
    int error = swan_thread_start(&q->thread, consume, q);
    if (error) {
        pthread_cond_destroy(&q->changed);
        pthread_mutex_destroy(&q->lock);
        if (q->owned) free(q->frames);
        free(q);
        return SWAN_FAIL(SWAN_E_NOMEM, "no thread for the encoder: %s", strerror(error));
    }
    *out = q;
    return SWAN_OK;
}

swan_status swan_frame_queue_slot(swan_frame_queue *q, void **frame) { return swan_frame_queue_slot_ahead(q, 0, frame); }

swan_status swan_frame_queue_slot_ahead(swan_frame_queue *q, int ahead, void **frame)
{
    if (ahead < 0 || ahead >= q->capacity) return SWAN_BUG("frame %d ahead in a queue of %d", ahead, q->capacity);
    pthread_mutex_lock(&q->lock);
    while (!q->failure.status && q->count + ahead >= q->capacity) pthread_cond_wait(&q->changed, &q->lock);
    swan_status status = swan_status_kept(&q->failure);
    if (status == SWAN_OK) *frame = q->frames + (size_t)((q->first + q->count + ahead) % q->capacity) * q->stride;
    pthread_mutex_unlock(&q->lock);
    return status;
}

swan_status swan_frame_queue_push(swan_frame_queue *q)
{
    pthread_mutex_lock(&q->lock);
    swan_status status = swan_status_kept(&q->failure);
    if (status == SWAN_OK && q->count == q->capacity) {
        status = SWAN_BUG("frame pushed into a full queue, without a slot");
    } else if (status == SWAN_OK) {
        q->count++;
        pthread_cond_broadcast(&q->changed);
    }
    pthread_mutex_unlock(&q->lock);
    return status;
}

void swan_frame_queue_cancel(swan_frame_queue *q)
{
    pthread_mutex_lock(&q->lock);
    swan_status_keep(&q->failure, SWAN_FAIL(SWAN_E_CANCELLED, "cancelled"));
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

swan_status swan_frame_queue_close(swan_frame_queue *q)
{
    if (!q) return SWAN_OK;
    pthread_mutex_lock(&q->lock);
    q->closing = true;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
    pthread_join(q->thread, NULL);
    swan_status status = swan_status_kept(&q->failure);
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    if (q->owned) free(q->frames);
    free(q);
    return status;
}
