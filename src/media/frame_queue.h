/* A bounded queue of equal blocks (frames) with one consumer thread, so that making frames and encoding them overlap
 * in bounded memory. All memory is allocated at open. One thread produces; any thread may cancel. */
#ifndef SWAN_MEDIA_FRAME_QUEUE_H
#define SWAN_MEDIA_FRAME_QUEUE_H

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct swan_frame_queue swan_frame_queue;

/* Called on the consumer thread for frame 0, 1, 2, ... in order; frame is valid until it returns. After a failure it
 * is not called again. */
typedef swan_status swan_frame_consumer(void *user, int64_t index, const void *frame);

/* A queue of capacity (1 .. 1024) frames of frame_bytes each, 64-byte aligned. */
swan_status swan_frame_queue_open(size_t frame_bytes, int capacity, swan_frame_consumer *consumer, void *user,
                                  swan_frame_queue **out);

/* Bytes of memory for such a queue. */
size_t swan_frame_queue_bytes(size_t frame_bytes, int capacity);
/* The same over memory of the caller's, of swan_frame_queue_bytes, 64-byte aligned, which stays until close. */
swan_status swan_frame_queue_open_over(void *memory, size_t frame_bytes, int capacity, swan_frame_consumer *consumer,
                                       void *user, swan_frame_queue **out);

/* The place for the next frame, in *frame; waits while the queue is full. Asking again before a push gives the same
 * place. Fails with what the consumer failed with (its status and message, on this thread), or SWAN_E_CANCELLED. */
swan_status swan_frame_queue_slot(swan_frame_queue *q, void **frame);
/* The place for the frame `ahead` (below capacity) pushes later, so that several can be filled at a time. */
swan_status swan_frame_queue_slot_ahead(swan_frame_queue *q, int ahead, void **frame);

/* Hands the place filled since swan_frame_queue_slot to the consumer. Never waits. Fails as slot does. */
swan_status swan_frame_queue_push(swan_frame_queue *q);

/* Drops what is queued, ends the consumer after the frame it has, and wakes whoever waits. From any thread, also
 * twice; not from a signal handler. */
void swan_frame_queue_cancel(swan_frame_queue *q);

/* Waits until every pushed frame is consumed (or the queue has failed or is cancelled), ends the thread and frees q.
 * Fails as slot does. NULL is fine. */
swan_status swan_frame_queue_close(swan_frame_queue *q);

#ifdef __cplusplus
}
#endif
#endif
