#include "pipe/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "media/frame_queue.h"
#include "media/mp4.h"
#include "pipe/describe.h"
#include "pipe/memory.h"

#define QUEUE_FRAMES 8 /* decoding a latent frame makes four frames at once */

/* On the encoding thread. */
static swan_status consume(void *user, int64_t index, const void *frame)
{
    swan_output *o = user;
    const struct swan_session *s = o->session;
    if (s->callbacks.frame) s->callbacks.frame(s->callbacks.user, (int)index, s->size.width, s->size.height, frame);
    if (!o->mp4) return SWAN_OK;
    return o->i420 ? swan_mp4_write_i420(o->mp4, frame) : swan_mp4_write(o->mp4, frame);
}

static swan_status open_file(swan_output *o, const char *prompt, uint64_t seed)
{
    const struct swan_session *s = o->session;
    const swan_params *p = s->params;
    if (p->metadata) SWAN_TRY(swan_describe_run(s, prompt, seed, &o->recipe));
    swan_mp4_config config = {.width = s->size.width, .height = s->size.height, .fps = s->size.fps, .encoder = p->encoder,
                              .preset = p->preset, .quality = p->quality, .frames = s->size.frames,
                              .title = p->metadata ? prompt : NULL, .comment_json = o->recipe};
    return swan_mp4_open(p->output, &config, &o->mp4);
}

swan_status swan_output_open(swan_output *o, struct swan_session *s, const char *prompt, uint64_t seed)
{
    *o = (swan_output){.session = s};
    bool file = s->params->output && s->params->output[0];
    swan_status status = file ? open_file(o, prompt, seed) : SWAN_OK;
    size_t pixels = (size_t)s->size.width * (size_t)s->size.height;
    bool remote = s->staging.frames != NULL;
    o->i420 = remote && !s->callbacks.frame;
    if (!status && (file || s->callbacks.frame))
        status = remote ? swan_frame_queue_open_over(s->staging.frames, o->i420 ? pixels * 3 / 2 : pixels * 3, SWAN_FRAMES_QUEUED, consume, o, &o->queue)
                        : swan_frame_queue_open(pixels * 3, QUEUE_FRAMES, consume, o, &o->queue);
    if (status) swan_output_abort(o);
    return status;
}

/* Hands the oldest frame that is under way to the encoder, once it is there; only then it counts as decoded. */
static swan_status receive(swan_output *o)
{
    struct swan_session *s = o->session;
    SWAN_TRY(swan_frame_ring_receive(&s->ring, o->received));
    o->received++;
    if (o->queue) SWAN_TRY(swan_frame_queue_push(o->queue));
    return swan_clock_report(s->clock, SWAN_PHASE_DECODE, (int)o->received, s->size.frames);
}

/* On a GPU: the frame's bytes are made at its place on the device, and sent on their way. */
static swan_status send(swan_output *o, swan_ctx *ctx, const swan_tensor *frame)
{
    struct swan_session *s = o->session;
    if (o->sent - o->received == SWAN_FRAMES_UNDER_WAY) SWAN_TRY(receive(o));
    int64_t pixels = frame->ne[0] * frame->ne[1], bytes = o->i420 ? pixels * 3 / 2 : pixels * 3;
    uint8_t *at = (uint8_t *)s->state.frames.data + o->sent % SWAN_FRAMES_UNDER_WAY * s->state.frames.ne[1];
    swan_tensor here = swan_tensor_1d(at, SWAN_U8, bytes);
    here.name = o->i420 ? "i420" : "rgb";
    SWAN_TRY(o->i420 ? swan_op_i420(ctx, frame, &here) : swan_op_rgb8(ctx, frame, &here));
    void *slot = NULL;
    if (o->queue) SWAN_TRY(swan_frame_queue_slot_ahead(o->queue, (int)(o->sent - o->received), &slot));
    SWAN_TRY(swan_frame_ring_send(&s->ring, ctx, o->sent, slot, &here));
    o->sent++;
    return SWAN_OK;
}

swan_status swan_output_frame(void *user, swan_ctx *ctx, int64_t index, const swan_tensor *frame)
{
    swan_frame_path *path = user;
    swan_output *o = path->output;
    struct swan_session *s = path->session;
    if (ctx->mode != SWAN_DRY) SWAN_TRY(swan_dump_frame(path->dump, index, frame));
    if (s->staging.frames) return send(o, ctx, frame);
    SWAN_TRY(swan_op_rgb8(ctx, frame, &s->state.rgb));
    if (o->queue) {
        void *slot;
        SWAN_TRY(swan_frame_queue_slot(o->queue, &slot));
        SWAN_TRY(swan_memory_download(ctx, slot, &s->state.rgb));
        SWAN_TRY(swan_frame_queue_push(o->queue));
    }
    return swan_clock_report(path->clock, SWAN_PHASE_DECODE, (int)index + 1, s->size.frames);
}

swan_status swan_output_finish(swan_output *o, uint64_t *bytes)
{
    *bytes = 0;
    while (o->received < o->sent) SWAN_TRY(receive(o));
    swan_frame_queue *queue = o->queue;
    o->queue = NULL;
    SWAN_TRY(swan_frame_queue_close(queue));
    swan_mp4 *mp4 = o->mp4;
    o->mp4 = NULL;
    if (mp4) SWAN_TRY(swan_mp4_close(mp4, bytes));
    free(o->recipe);
    o->recipe = NULL;
    return SWAN_OK;
}

void swan_output_abort(swan_output *o)
{
    if (o->queue) {
        char reason[1024]; /* why we are here: closing a cancelled queue says "cancelled" */
        snprintf(reason, sizeof reason, "%s", swan_last_error());
        swan_frame_queue_cancel(o->queue);
        (void)swan_frame_ring_drain(&o->session->ring); /* nothing writes to the queue's memory any more */
        swan_status status = swan_frame_queue_close(o->queue);
        (void)SWAN_FAIL(status, "%s", reason);
    }
    swan_mp4_abort(o->mp4);
    free(o->recipe);
    *o = (swan_output){0};
}
