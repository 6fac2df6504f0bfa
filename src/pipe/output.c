#include "pipe/output.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "media/frame_queue.h"
#include "media/mp4.h"
#include "media/video.h"
#include "pipe/describe.h"
#include "pipe/memory.h"

#define QUEUE_FRAMES 8 /* decoding a latent frame makes four frames at once */

/* ---- the encoding thread ---- */

/* Frames beside those of a video. */
typedef struct swan_comparison {
    swan_video *video;
    uint8_t *planes;  /* of one frame, where they come as rgb */
    uint64_t squares; /* of what luma is off */
} swan_comparison;

static swan_status compare(swan_output *o, int64_t index, const void *frame)
{
    swan_comparison *c = o->comparison;
    int width = o->session->size.width, height = o->session->size.height;
    size_t pixels = (size_t)width * (size_t)height;
    const uint8_t *luma = frame;
    const swan_yuv420 *shown;
    if (!o->i420) {
        swan_yuv420 dst = {{c->planes, c->planes + pixels, c->planes + pixels * 5 / 4}, {(size_t)width, (size_t)width / 2, (size_t)width / 2}};
        swan_yuv420_from_rgb(&dst, frame, width, height);
        luma = c->planes;
    }
    SWAN_TRY(swan_video_next(c->video, &shown));
    if (!shown) return SWAN_FAIL(SWAN_E_FORMAT, "%s: ends before frame %lld", o->session->params->output, (long long)index);
    for (int y = 0; y < height; y++, luma += width)
        for (int x = 0; x < width; x++) {
            int off = luma[x] - shown->plane[0][(size_t)y * shown->stride[0] + (size_t)x];
            c->squares += (uint64_t)(off * off);
        }
    return SWAN_OK;
}

static swan_status consume(void *user, int64_t index, const void *frame)
{
    swan_output *o = user;
    const struct swan_session *s = o->session;
    if (o->comparison) return compare(o, index, frame);
    if (s->callbacks.frame) s->callbacks.frame(s->callbacks.user, (int)index, s->size.width, s->size.height, frame);
    if (!o->mp4) return SWAN_OK;
    return o->i420 ? swan_mp4_write_i420(o->mp4, frame) : swan_mp4_write(o->mp4, frame);
}

/* ---- the session's thread ---- */

static swan_mp4_config configure(const struct swan_session *s)
{
    const swan_params *p = s->params;
    return (swan_mp4_config){.width = s->size.width, .height = s->size.height, .fps = s->size.fps, .frames = s->size.frames,
                             .encoder = p->encoder, .preset = p->preset, .quality = p->quality};
}

uint64_t swan_output_bytes(const struct swan_session *s)
{
    swan_mp4_config config = configure(s);
    size_t frame = (size_t)s->size.width * (size_t)s->size.height * 3;
    return swan_mp4_bytes(&config) + (swan_engine_on_host(s->engine) ? swan_frame_queue_bytes(frame, QUEUE_FRAMES) : 0);
}

static swan_status open_file(swan_output *o, const char *prompt, uint64_t seed)
{
    const struct swan_session *s = o->session;
    const swan_params *p = s->params;
    if (p->metadata) SWAN_TRY(swan_describe_run(s, prompt, seed, &o->recipe));
    swan_mp4_config config = configure(s);
    config.title = p->metadata ? prompt : NULL;
    config.comment_json = o->recipe;
    return swan_mp4_open(p->output, &config, &o->mp4);
}

static swan_status open_queue(swan_output *o)
{
    const struct swan_session *s = o->session;
    size_t pixels = (size_t)s->size.width * (size_t)s->size.height;
    bool remote = s->staging.frames != NULL;
    o->i420 = remote && !s->callbacks.frame;
    return remote ? swan_frame_queue_open_over(s->staging.frames, o->i420 ? pixels * 3 / 2 : pixels * 3, SWAN_FRAMES_QUEUED, consume, o, &o->queue)
                  : swan_frame_queue_open(pixels * 3, QUEUE_FRAMES, consume, o, &o->queue);
}

swan_status swan_output_open(swan_output *o, struct swan_session *s, const char *prompt, uint64_t seed)
{
    *o = (swan_output){.session = s};
    bool file = s->params->output && s->params->output[0];
    swan_status status = file ? open_file(o, prompt, seed) : SWAN_OK;
    if (!status && (file || s->callbacks.frame)) status = open_queue(o);
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
        swan_failure why = {0}; /* we are here; closing a cancelled queue says "cancelled" */
        swan_status_keep(&why, SWAN_E_CANCELLED);
        swan_frame_queue_cancel(o->queue);
        (void)swan_frame_ring_drain(&o->session->ring); /* nothing writes to the queue's memory any more */
        (void)swan_frame_queue_close(o->queue);
        (void)swan_status_kept(&why);
    }
    swan_mp4_abort(o->mp4);
    free(o->recipe);
    *o = (swan_output){0};
}

/* ---- looking back ---- */

static swan_status decode_again(swan_output *o)
{
    struct swan_session *s = o->session;
    swan_dump none = {0};
    swan_frame_path path = {.session = s, .output = o, .dump = &none, .clock = s->clock};
    SWAN_TRY(swan_session_decode(s, &(swan_taehv_sink){swan_output_frame, &path}));
    while (o->received < o->sent) SWAN_TRY(receive(o));
    swan_frame_queue *queue = o->queue;
    o->queue = NULL;
    return swan_frame_queue_close(queue);
}

static swan_status compare_all(struct swan_session *s, swan_comparison *c)
{
    swan_output o = {.session = s, .comparison = c};
    swan_clock clock;
    s->clock = &clock;
    swan_arena_release(&s->activations, 0);
    swan_status status = swan_clock_start(&clock, s);
    if (!status) status = open_queue(&o);
    if (!status) status = decode_again(&o);
    if (status) swan_output_abort(&o);
    s->clock = NULL;
    return status;
}

static swan_status measure_psnr(struct swan_session *s, swan_comparison *c, double *y_psnr)
{
    double values = (double)s->size.width * s->size.height * s->size.frames;
    int width, height;
    swan_video_size(c->video, &width, &height);
    if (width != s->size.width || height != s->size.height)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: %dx%d; wanted %dx%d", s->params->output, width, height, s->size.width, s->size.height);
    c->planes = malloc((size_t)width * (size_t)height * 3 / 2);
    if (!c->planes) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory to compare it", s->params->output);
    SWAN_TRY(compare_all(s, c));
    const swan_yuv420 *more;
    SWAN_TRY(swan_video_next(c->video, &more));
    if (more) return SWAN_FAIL(SWAN_E_FORMAT, "%s: holds more than %d frames", s->params->output, s->size.frames);
    *y_psnr = c->squares ? 10 * log10(255.0 * 255.0 * values / (double)c->squares) : 100;
    return SWAN_OK;
}

swan_status swan_output_examine(struct swan_session *s, swan_output_facts *facts)
{
    *facts = (swan_output_facts){0};
    swan_mp4_config config = configure(s);
    swan_mp4_choice choice;
    SWAN_TRY(swan_mp4_choose(&config, &choice));
    memcpy(facts->encoder, choice.encoder, sizeof facts->encoder);
    memcpy(facts->preset, choice.preset, sizeof facts->preset);
    facts->quality = choice.quality;
    swan_comparison c = {0};
    swan_status status = swan_video_open(s->params->output, &c.video);
    if (status == SWAN_E_UNSUPPORTED) {
        snprintf(facts->no_psnr, sizeof facts->no_psnr, "%s", swan_last_error());
        return SWAN_OK;
    }
    if (!status) status = measure_psnr(s, &c, &facts->y_psnr);
    swan_video_close(c.video);
    free(c.planes);
    return status;
}
