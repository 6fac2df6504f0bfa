#include "pipe/segments.h"

#include <stdio.h>
#include <string.h>

#include "pipe/memory.h"
#include "pipe/progress.h"
#include "pipe/session.h"

/* 40 ms, less what a short warm-up flatters: a GPU that has been at work for a second is up to a quarter slower. */
#define SEGMENT_SECONDS 0.032
#define WARM_BLOCKS 2 /* the first loads code, the second is measured */
#define WARM_MARKS (SWAN_WAN_PARTS + 1)

/* ---- where a pass is cut ---- */

int swan_segments_cut(const double part_s[SWAN_WAN_PARTS], int layers, int away, double limit, int first[SWAN_SEGMENTS_MOST + 1])
{
    double block_s = 0, filled = 0;
    int count = 0;
    for (int p = 0; p < SWAN_WAN_PARTS; p++) block_s += part_s[p];
    for (int i = 0; i < layers; i++) {
        bool fits = block_s <= limit, cut = count == 0 || swan_weights_is_away(i, away, layers);
        if (cut || !fits || filled + block_s > limit) {
            first[count++] = SWAN_WAN_PARTS * i;
            filled = 0;
        }
        for (int p = 0; p < SWAN_WAN_PARTS; p++) {
            if (!fits && p > 0 && filled + part_s[p] > limit) {
                first[count++] = SWAN_WAN_PARTS * i + p;
                filled = 0;
            }
            filled += part_s[p];
        }
    }
    first[count] = SWAN_WAN_PARTS * layers;
    return count;
}

/* ---- one segment ---- */

static swan_wan_step step_of(const struct swan_session *s, int which)
{
    return (swan_wan_step){.geometry = &s->geometry, .text = &s->text[which], .modulation = &s->state.modulation, .shift = s->shift};
}

/* What a pass keeps in the arena until its end: places for blocks that are away, the residual stream. */
static swan_status reserve(struct swan_session *s, swan_tensor *x)
{
    const swan_wan_dit *dit = &s->engine->dit;
    SWAN_TRY(swan_session_reserve_places(s, SWAN_PART_BLOCKS));
    for (int i = 0; i < dit->config.layers; i++) s->shift[i] = swan_layer_stream_shift(&s->away[SWAN_PART_BLOCKS], i);
    return swan_wan_dit_reserve(dit, &s->ctx, &s->geometry, x);
}

/* The weights of the blocks that begin in [from, end). */
static swan_status take_blocks(struct swan_session *s, int from, int end)
{
    for (int n = from; n < end; n++)
        if (n % SWAN_WAN_PARTS == 0) SWAN_TRY(swan_layer_stream_take(&s->away[SWAN_PART_BLOCKS], n / SWAN_WAN_PARTS));
    return SWAN_OK;
}

/* The ops of segment i of a pass. x: the residual stream. */
static swan_status run_segment(struct swan_session *s, int which, int i, swan_tensor *x, swan_tensor *velocity)
{
    const swan_segments *g = &s->segments;
    const swan_wan_dit *dit = &s->engine->dit;
    swan_wan_step step = step_of(s, which);
    if (i == 0) SWAN_TRY(swan_wan_dit_begin(dit, &s->ctx, &step, &s->state.buffer[SWAN_SCHED_SAMPLE], x));
    SWAN_TRY(swan_wan_dit_parts(dit, &s->ctx, &step, g->first[i], g->first[i + 1], x));
    return i + 1 == g->count ? swan_wan_dit_end(dit, &s->ctx, &step, x, velocity) : SWAN_OK;
}

/* ---- a pass ---- */

void swan_segments_begin_request(struct swan_session *s) { s->segments.launched = 0; }
void swan_segments_begin_step(struct swan_session *s) { s->segments.step_launched = 0; }

/* Makes room for one more segment: waits for the last but one. */
static swan_status make_room(struct swan_session *s)
{
    swan_segments *g = &s->segments;
    if (g->launched >= SWAN_IN_FLIGHT)
        SWAN_TRY(s->engine->device.backend->event_finish(&g->done[g->launched % SWAN_IN_FLIGHT]));
    if (atomic_load_explicit(&s->cancel, memory_order_relaxed)) return SWAN_FAIL(SWAN_E_CANCELLED, "cancelled");
    int finished = g->step_launched + 1 - SWAN_IN_FLIGHT;
    if (!s->clock || finished < 1) return SWAN_OK;
    return swan_clock_report_part(s->clock, (double)finished / (g->count * (s->guided ? 2 : 1)));
}

static swan_status launch(struct swan_session *s, int which, int i, swan_tensor *x, swan_tensor *velocity)
{
    swan_segments *g = &s->segments;
    const swan_backend *backend = s->engine->device.backend;
    SWAN_TRY(make_room(s));
    SWAN_TRY(take_blocks(s, g->first[i], g->first[i + 1]));
    if (g->captured && s->ctx.mode == SWAN_RUN) {
        SWAN_TRY(swan_segments_replay(s, &g->segment[which][swan_wan_text_shape(s->text[which].rows)][i]));
    } else {
        SWAN_TRY(run_segment(s, which, i, x, velocity));
    }
    SWAN_TRY(backend->event_record(&s->stream, &g->done[g->launched % SWAN_IN_FLIGHT]));
    g->launched++;
    g->step_launched++;
    return SWAN_OK;
}

swan_status swan_segments_pass(struct swan_session *s, int which, swan_tensor *velocity)
{
    const swan_segments *g = &s->segments;
    swan_wan_step step = step_of(s, which);
    size_t mark = swan_arena_mark(s->ctx.arena);
    if (mark) return SWAN_BUG("segments: the arena is not empty: %zu bytes", mark);
    if (swan_engine_on_host(s->engine) || s->ctx.mode == SWAN_DRY) {
        SWAN_TRY(swan_session_reserve_places(s, SWAN_PART_BLOCKS));
        SWAN_TRY(swan_wan_dit_forward(&s->engine->dit, &s->ctx, &step, &s->state.buffer[SWAN_SCHED_SAMPLE], velocity));
    } else {
        swan_tensor x;
        SWAN_TRY(reserve(s, &x));
        for (int i = 0; i < g->count; i++) SWAN_TRY(launch(s, which, i, &x, velocity));
    }
    swan_arena_release(s->ctx.arena, mark);
    return SWAN_OK;
}

/* ---- at open: run once, measure ---- */

static swan_status warm_frame(void *user, swan_ctx *ctx, int64_t index, const swan_tensor *frame)
{
    struct swan_session *s = user;
    (void)index;
    swan_tensor i420 = swan_tensor_1d(s->state.frames.data, SWAN_U8, frame->ne[0] * frame->ne[1] * 3 / 2);
    SWAN_TRY(swan_op_i420(ctx, frame, &i420));
    return swan_op_rgb8(ctx, frame, &s->state.rgb);
}

/* What comes before the blocks, two of them, the parts of the second between marks, and what comes behind. */
static swan_status warm_pass(struct swan_session *s, swan_event at[WARM_MARKS])
{
    const swan_wan_dit *dit = &s->engine->dit;
    const swan_backend *backend = s->engine->device.backend;
    swan_tensor x, *sample = &s->state.buffer[SWAN_SCHED_SAMPLE];
    size_t mark = swan_arena_mark(s->ctx.arena);
    SWAN_TRY(reserve(s, &x));
    swan_wan_step step = step_of(s, SWAN_POSITIVE);
    SWAN_TRY(swan_wan_dit_begin(dit, &s->ctx, &step, sample, &x));
    for (int i = 0; i < WARM_BLOCKS; i++) {
        int first = SWAN_WAN_PARTS * (i % dit->config.layers);
        SWAN_TRY(take_blocks(s, first, first + 1)); /* before the mark: waiting for weights is no work */
        for (int p = 0; p < SWAN_WAN_PARTS; p++) {
            if (i + 1 == WARM_BLOCKS) SWAN_TRY(backend->event_record(&s->stream, &at[p]));
            SWAN_TRY(swan_wan_dit_parts(dit, &s->ctx, &step, first + p, first + p + 1, &x));
        }
    }
    SWAN_TRY(backend->event_record(&s->stream, &at[SWAN_WAN_PARTS]));
    SWAN_TRY(swan_wan_dit_end(dit, &s->ctx, &step, &x, &s->state.buffer[SWAN_SCHED_VELOCITY]));
    swan_arena_release(s->ctx.arena, mark);
    return swan_session_settle(s); /* of the pass that ended early here, more weights are on their way */
}

/* Everything once: text of each shape, the transformer, the update, a frame. Over noise, for zeros would take a GPU less
 * power, and so less time. */
static swan_status warm_up(struct swan_session *s, swan_event at[WARM_MARKS])
{
    const swan_backend *backend = s->engine->device.backend;
    swan_tensor *sample = &s->state.buffer[SWAN_SCHED_SAMPLE];
    memset(s->staging.text[SWAN_POSITIVE].ids, 0, SWAN_TEXT_TOKENS * sizeof(int32_t));
    swan_rng_seed(&s->rng, 0);
    swan_rng_normal_f32(&s->rng, s->staging.noise, (size_t)swan_tensor_count(sample));
    SWAN_TRY(swan_memory_upload(&s->ctx, sample, s->staging.noise));
    for (int64_t n = SWAN_TEXT_TOKENS - 1; n > 0; n--) { /* the fewest rows last: the pass is measured with them */
        bool all_pass = s->engine->away[SWAN_PART_TEXT_LAYERS] > 0; /* its weights would, for each shape: then one shape has to do */
        if (!swan_session_shape_ends(n) || (all_pass && n > swan_umt5_padded(1))) continue;
        SWAN_TRY(swan_session_encode_tokens(s, SWAN_POSITIVE, n));
        SWAN_TRY(backend->synchronise(&s->stream)); /* the staging memory is written again */
    }
    SWAN_TRY(swan_session_set_modulation(s, 0));
    SWAN_TRY(warm_pass(s, at));
    SWAN_TRY(swan_session_update(s, 0));
    swan_taehv_sink sink = {warm_frame, s};
    if (s->engine->taehv_path[0]) SWAN_TRY(swan_taehv_decode_part(&s->engine->taehv, &s->ctx, sample, 0, 1, &sink));
    return backend->synchronise(&s->stream);
}

static swan_status measure(struct swan_session *s)
{
    const swan_device *d = &s->engine->device;
    swan_segments *g = &s->segments;
    swan_event at[WARM_MARKS] = {0};
    swan_status status = SWAN_OK;
    for (int i = 0; i < WARM_MARKS && !status; i++) status = d->backend->event_open(d, &at[i]);
    if (!status) status = warm_up(s, at);
    for (int p = 0; p < SWAN_WAN_PARTS && !status; p++) status = d->backend->event_elapsed(&at[p], &at[p + 1], &g->part_s[p]);
    for (int i = 0; i < WARM_MARKS; i++) d->backend->event_close(d, &at[i]);
    if (status) return status;
    g->count = swan_segments_cut(g->part_s, s->engine->dit.config.layers, s->engine->away[SWAN_PART_BLOCKS], SEGMENT_SECONDS, g->first);
    return SWAN_OK;
}

/* ---- at open: capture ---- */

swan_status swan_segments_replay(struct swan_session *s, const swan_segment *segment)
{
    SWAN_TRY(s->engine->device.backend->graph_launch(&s->stream, &segment->graph));
    s->ctx.counters.launches += segment->counters.launches;
    s->ctx.counters.flops += segment->counters.flops;
    s->ctx.counters.bytes += segment->counters.bytes;
    return SWAN_OK;
}

swan_status swan_segments_record(struct swan_session *s, swan_status (*run)(struct swan_session *s, const void *what), const void *what,
                                 swan_segment *out)
{
    const swan_device *d = &s->engine->device;
    SWAN_TRY(d->backend->capture_begin(&s->stream));
    s->ctx.mode = SWAN_CAPTURE;
    s->ctx.counters = (swan_counters){0};
    swan_status status = run(s, what);
    s->ctx.mode = SWAN_RUN;
    out->counters = s->ctx.counters;
    swan_failure first = {0};
    swan_status_keep(&first, status);
    swan_status_keep(&first, d->backend->capture_end(&s->stream, &out->graph)); /* always: the stream has to run again */
    return swan_status_kept(&first);
}

typedef struct pass_piece {
    int which, i;
    swan_tensor *x;
} pass_piece;

static swan_status run_piece(struct swan_session *s, const void *what)
{
    const pass_piece *p = what;
    swan_tensor *velocity = p->which == SWAN_POSITIVE ? &s->state.buffer[SWAN_SCHED_VELOCITY] : &s->state.unguided;
    return run_segment(s, p->which, p->i, p->x, velocity);
}

static swan_status capture_all(struct swan_session *s)
{
    swan_segments *g = &s->segments;
    for (int which = 0; which < (s->guided ? 2 : 1); which++)
        for (int shape = 0; shape < SWAN_WAN_TEXT_SHAPES; shape++) {
            swan_tensor x;
            SWAN_TRY(swan_session_place_text(s, which, swan_wan_text_tokens(shape)));
            SWAN_TRY(reserve(s, &x));
            for (int i = 0; i < g->count; i++)
                SWAN_TRY(swan_segments_record(s, run_piece, &(pass_piece){which, i, &x}, &g->segment[which][shape][i]));
            swan_arena_release(s->ctx.arena, 0);
        }
    SWAN_TRY(swan_text_capture(s));
    return s->engine->device.backend->synchronise(&s->stream);
}

static void discard(struct swan_session *s)
{
    const swan_device *d = &s->engine->device;
    swan_segments *g = &s->segments;
    for (int which = 0; which < SWAN_PROMPTS; which++)
        for (int shape = 0; shape < SWAN_WAN_TEXT_SHAPES; shape++)
            for (int i = 0; i < g->count; i++) d->backend->graph_close(d, &g->segment[which][shape][i].graph);
    swan_text_discard(s);
    g->captured = false;
}

/* A device that cannot capture can still run; one that failed cannot. */
static swan_status capture(struct swan_session *s)
{
    const swan_device *d = &s->engine->device;
    swan_status status = capture_all(s);
    s->segments.captured = status == SWAN_OK;
    if (!status) return SWAN_OK;
    swan_arena_release(s->ctx.arena, 0);
    char reason[256];
    snprintf(reason, sizeof reason, "%s", swan_last_error());
    discard(s);
    SWAN_TRY(d->backend->fault(d));
    SWAN_TRY(d->backend->synchronise(&s->stream));
    swan_engine_log(&s->callbacks, SWAN_LOG_WARN, "graphs: capturing failed, so kernels are launched one by one: %s", reason);
    return SWAN_OK;
}

/* ---- open and close ---- */

swan_status swan_segments_open(struct swan_session *s)
{
    const swan_device *d = &s->engine->device;
    swan_segments *g = &s->segments;
    if (swan_engine_on_host(s->engine)) return SWAN_OK;
    for (int i = 0; i < SWAN_IN_FLIGHT; i++) SWAN_TRY(d->backend->event_open(d, &g->done[i]));
    SWAN_TRY(measure(s));
    if (s->engine->params->graphs == SWAN_GRAPHS_ON) SWAN_TRY(capture(s));
    s->ctx.counters = (swan_counters){0};
    s->activations.peak = s->activations.used;
    swan_engine_log(&s->callbacks, SWAN_LOG_DEBUG, "a block takes %.3f + %.3f + %.3f ms; %d segments for %d blocks, %s", g->part_s[0] * 1e3,
                    g->part_s[1] * 1e3, g->part_s[2] * 1e3, g->count, s->engine->dit.config.layers, g->captured ? "captured" : "not captured");
    return SWAN_OK;
}

void swan_segments_close(struct swan_session *s)
{
    const swan_device *d = &s->engine->device;
    discard(s);
    for (int i = 0; i < SWAN_IN_FLIGHT; i++) d->backend->event_close(d, &s->segments.done[i]);
}
