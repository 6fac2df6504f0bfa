/* The story of one video: prompt -> ids -> context -> noise -> velocity, step by step -> frames -> mp4.
 * Each phase is a few lines here; what it does stands where the calls lead. */
#include <string.h>

#include "pipe/dump.h"
#include "pipe/memory.h"
#include "pipe/output.h"
#include "pipe/progress.h"
#include "pipe/session.h"
#include "pipe/trace.h"
#include "pipe/usage.h"

/* ---- text ---- */

static swan_status encode_prompt(swan_session *s, int which, const char *prompt, const swan_dump *dump)
{
    int count = 0;
    SWAN_TRY(swan_session_tokenize(s->engine, prompt, s->staging.text[which].ids, &count));
    SWAN_TRY(swan_session_encode_tokens(s, which, count));
    return which == SWAN_POSITIVE ? swan_dump_text(dump, s, count) : SWAN_OK;
}

/* ---- noise: drawn in the order of the reference, kept as [C, T, H, W] ---- */

/* Distilled models were run with frames outermost: [T, C, H, W]. */
static void frames_inside(const float *drawn, const swan_tensor *shape, float *out)
{
    int64_t C = shape->ne[0], T = shape->ne[1], plane = shape->ne[2] * shape->ne[3];
    for (int64_t t = 0; t < T; t++)
        for (int64_t c = 0; c < C; c++)
            memcpy(out + (c * T + t) * plane, drawn + (t * C + c) * plane, (size_t)plane * sizeof(float));
}

#define NOISE_BLOCK 16
#define NOISE_TASK_BLOCKS 512

static void noise_task(void *arg, int64_t index, int worker)
{
    const swan_tensor *noise = arg;
    (void)worker;
    size_t first = (size_t)index * NOISE_TASK_BLOCKS, blocks = (size_t)swan_tensor_count(noise) / NOISE_BLOCK - first;
    swan_rng_normal_blocks((float *)noise->data + first * NOISE_BLOCK, blocks < NOISE_TASK_BLOCKS ? blocks : NOISE_TASK_BLOCKS);
}

/* swan_rng_normal_f32 with its second half on all threads: a GPU would wait for it. */
static void draw_normal(swan_session *s, const swan_tensor *noise)
{
    size_t n = (size_t)swan_tensor_count(noise);
    if (n % NOISE_BLOCK) {
        swan_rng_normal_f32(&s->rng, noise->data, n);
        return;
    }
    swan_rng_uniform_f32(&s->rng, noise->data, n);
    int64_t tasks = (int64_t)(n / NOISE_BLOCK + NOISE_TASK_BLOCKS - 1) / NOISE_TASK_BLOCKS;
    swan_pool_run(s->pool, tasks, noise_task, (void *)(uintptr_t)noise, NULL);
}

/* Into the staging buffer, once the copy of what it held has passed. */
static swan_status draw_noise(swan_session *s, const swan_tensor *shape)
{
    swan_staging *h = &s->staging;
    swan_tensor drawn = *shape;
    drawn.data = h->drawn;
    SWAN_TRY(s->engine->device.backend->event_finish(&s->mark[SWAN_MARK_UPLOADED]));
    if (s->ctx.parity_bf16) swan_rng_normal_bf16_as_f32(&s->rng, h->drawn, (size_t)swan_tensor_count(shape));
    else draw_normal(s, &drawn);
    if (h->drawn != h->noise) frames_inside(h->drawn, shape, h->noise);
    return SWAN_OK;
}

static swan_status upload_noise(swan_session *s, const swan_tensor *to)
{
    SWAN_TRY(swan_memory_upload(&s->ctx, to, s->staging.noise));
    return swan_clock_mark(s->clock, SWAN_MARK_UPLOADED);
}

static swan_status first_noise(swan_session *s, uint64_t seed)
{
    swan_tensor *sample = &s->state.buffer[SWAN_SCHED_SAMPLE];
    swan_rng_seed(&s->rng, seed);
    SWAN_TRY(draw_noise(s, sample)); /* drawn even when a file replaces it: the noise between steps stays that of the seed */
    if (s->params->noise) SWAN_TRY(swan_npy_read_f32(s->params->noise, sample->ne, 4, s->staging.noise));
    return upload_noise(s, sample);
}

/* ---- denoising ---- */

static swan_status show_preview_frame(void *user, swan_ctx *ctx, int64_t index, const swan_tensor *frame)
{
    swan_session *s = user;
    if (index != 0) return SWAN_OK;
    SWAN_TRY(swan_op_rgb8(ctx, frame, &s->state.rgb));
    SWAN_TRY(swan_memory_download(ctx, s->staging.rgb, &s->state.rgb));
    s->callbacks.preview(s->callbacks.user, s->preview_step, s->size.width, s->size.height, s->staging.rgb);
    return SWAN_OK;
}

/* One frame from the middle of the step's guess. */
static swan_status preview(swan_session *s, int step)
{
    if (!s->callbacks.preview) return SWAN_OK;
    s->preview_step = step;
    const swan_tensor *x0 = &s->state.buffer[swan_sched_x0(&s->sched, step)];
    return swan_taehv_decode_part(&s->engine->taehv, &s->ctx, x0, x0->ne[1] / 2, 1, &(swan_taehv_sink){show_preview_frame, s});
}

static swan_status denoise(swan_session *s, const swan_dump *dump)
{
    for (int i = 0; i < s->sched.steps; i++) {
        SWAN_TRY(swan_clock_report(s->clock, SWAN_PHASE_DENOISE, i, s->sched.steps));
        SWAN_TRY(swan_session_denoise_step(s, i));
        bool renoise = swan_sched_needs_noise(&s->sched, i);
        if (renoise) { /* drawn while a GPU is at work on the step */
            SWAN_TRY(draw_noise(s, &s->state.buffer[SWAN_SCHED_NOISE]));
            SWAN_TRY(upload_noise(s, &s->state.buffer[SWAN_SCHED_NOISE]));
        }
        SWAN_TRY(swan_session_update(s, i));
        SWAN_TRY(swan_dump_step(dump, s, i, renoise));
        SWAN_TRY(preview(s, i));
    }
    return SWAN_OK;
}

/* ---- the whole ---- */

/* On a GPU most of this only enqueues: the host is ahead, and meets the device where it waits for frames. */
static swan_status run(swan_session *s, const char *prompt, swan_output *output, swan_dump *dump, swan_report *report)
{
    swan_clock *clock = s->clock;
    SWAN_TRY(swan_clock_start(clock, s));
    SWAN_TRY(swan_clock_report(clock, SWAN_PHASE_TEXT, 0, 1));
    SWAN_TRY(encode_prompt(s, SWAN_POSITIVE, prompt, dump));
    if (s->guided) SWAN_TRY(encode_prompt(s, SWAN_NEGATIVE, s->params->negative_prompt ? s->params->negative_prompt : "", dump));
    SWAN_TRY(swan_clock_mark(clock, SWAN_MARK_TEXT));

    SWAN_TRY(first_noise(s, report->seed)); /* drawn while a GPU encodes the text */
    SWAN_TRY(swan_dump_latent(dump, "noise", &s->state.buffer[SWAN_SCHED_SAMPLE]));
    SWAN_TRY(denoise(s, dump));
    SWAN_TRY(swan_dump_latent(dump, "latents", &s->state.buffer[SWAN_SCHED_SAMPLE]));
    SWAN_TRY(swan_clock_mark(clock, SWAN_MARK_DENOISED));

    SWAN_TRY(swan_clock_report(clock, SWAN_PHASE_DECODE, 0, s->size.frames));
    swan_frame_path path = {.session = s, .output = output, .dump = dump, .clock = clock};
    SWAN_TRY(swan_session_decode(s, &(swan_taehv_sink){swan_output_frame, &path}));
    SWAN_TRY(swan_clock_mark(clock, SWAN_MARK_DECODED));
    SWAN_TRY(swan_dump_frames(dump));
    SWAN_TRY(swan_output_finish(output, &report->output_bytes));
    SWAN_TRY(s->engine->device.backend->synchronise(&s->stream)); /* where nobody wanted frames, nobody has waited for them */
    SWAN_TRY(swan_clock_laps(clock, report));
    (void)swan_clock_report(clock, SWAN_PHASE_DONE, s->size.frames, s->size.frames); /* too late to stop: the video is there */
    return SWAN_OK;
}

/* Nothing of the request is in flight behind this. What it failed with stays the message. */
static swan_status drain(swan_session *s, swan_status status)
{
    swan_failure first = {0};
    swan_status_keep(&first, status);
    swan_status_keep(&first, swan_session_settle(s));
    return swan_status_kept(&first);
}

swan_status swan_session_generate(swan_session *s, const char *prompt, int64_t seed, swan_report *report)
{
    const swan_device *device = &s->engine->device;
    swan_report local;
    if (!report) report = &local;
    if (!prompt) prompt = s->params->prompt ? s->params->prompt : s->engine->default_prompt;
    *report = (swan_report){.width = s->size.width, .height = s->size.height, .frames = s->size.frames, .fps = s->size.fps,
                            .steps = s->sched.steps, .seed = (uint64_t)seed};
    SWAN_TRY(device->backend->fault(device));
    SWAN_TRY(device->backend->use(device));
    if (seed < 0) SWAN_TRY(swan_rng_random_seed(&report->seed));
    if (seed > UINT32_MAX) return SWAN_FAIL(SWAN_E_INVALID, "seed: wanted 0 to 4294967295, found %lld", (long long)seed);
    swan_arena_release(&s->activations, 0);
    swan_segments_begin_request(s);

    swan_clock clock;
    swan_output output;
    swan_dump dump = {0};
    swan_trace_file trace = {0};
    s->clock = &clock;
    swan_status status = swan_output_open(&output, s, prompt, report->seed);
    if (!status) status = swan_dump_open(&dump, s);
    if (!status) status = swan_trace_begin(&trace, s->params->trace, &s->ctx);
    if (!status) status = run(s, prompt, &output, &dump, report);
    swan_status traced = swan_trace_end(&trace, &s->ctx);
    status = drain(s, status);
    if (status) swan_output_abort(&output);
    else status = traced;
    swan_dump_close(&dump);
    s->clock = NULL;
    atomic_store(&s->cancel, false); /* the next generate starts afresh */
    swan_usage_fill(s, report);
    return status;
}
