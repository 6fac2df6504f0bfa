#include "model/taehv.h"

/* ---- weights: "decoder.N" is the place in the reference's sequence ---- */

enum { Z, W0, W1, W2, W3, IN0, IN1, IN2, GROW0, GROW1, GROW2, RGB, SYMBOLS };

#define AT(member) offsetof(swan_taehv, member)
#define CONV(at, n, flags, out, in)                                                                                    \
    {{"decoder." #n ".weight"}, at + offsetof(swan_conv, weight), SWAN_WEIGHT_CONV, flags, 4, {out, in, -3, -3}},      \
    {{"decoder." #n ".bias"}, at + offsetof(swan_conv, bias), SWAN_WEIGHT_VECTOR, flags, 1, {out}}
#define BARE(at, n, out, in)                                                                                           \
    {{"decoder." #n ".weight"}, at + offsetof(swan_conv, weight), SWAN_WEIGHT_CONV, 0, 4, {out, in, -3, -3}}
#define MEM(s, b, n, w, in)                                                                                            \
    CONV(AT(stage[s].block[b].conv[0]), n.conv.0, 0, w, in), CONV(AT(stage[s].block[b].conv[1]), n.conv.2, 0, w, w),   \
    CONV(AT(stage[s].block[b].conv[2]), n.conv.4, 0, w, w)
#define GROW(s, n, out, in)                                                                                            \
    {{"decoder." #n ".conv.weight"}, AT(stage[s].grow_weight), SWAN_WEIGHT_MATRIX, SWAN_WEIGHT_LAST_ROWS, 4, {out, in, -1, -1}}

static const swan_weight_spec specs[] = {
    CONV(AT(in), 1, 0, W0, Z),
    MEM(0, 0, 3, W0, IN0), MEM(0, 1, 4, W0, IN0), MEM(0, 2, 5, W0, IN0), GROW(0, 7, GROW0, W0), BARE(AT(stage[0].conv), 8, W1, W0),
    MEM(1, 0, 9, W1, IN1), MEM(1, 1, 10, W1, IN1), MEM(1, 2, 11, W1, IN1), GROW(1, 13, GROW1, W1), BARE(AT(stage[1].conv), 14, W2, W1),
    MEM(2, 0, 15, W2, IN2), MEM(2, 1, 16, W2, IN2), MEM(2, 2, 17, W2, IN2), GROW(2, 19, GROW2, W2), BARE(AT(stage[2].conv), 20, W3, W2),
    CONV(AT(out), 22, 0, RGB, W3),
};
static const char *const ignored[] = {"encoder.", NULL};
static const int grow_of_stage[SWAN_TAEHV_STAGES] = {1, 2, 2};

/* Extent `axis` of a 4-axis weight, or an error that names it. */
static swan_status extent(const swan_ckpt *ckpt, const char *name, int axis, int64_t *out)
{
    const swan_tensor *t;
    SWAN_TRY(swan_ckpt_need(ckpt, name, &t));
    char shape[96];
    if (t->ndim != 4 || t->ne[axis] < 1 || t->ne[axis] > 65536)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: tensor %s: wanted a convolution weight [out, in, kh, kw], found %s",
                         swan_ckpt_file(ckpt, t), name, swan_tensor_shape(t, shape, sizeof shape));
    *out = t->ne[axis];
    return SWAN_OK;
}

swan_status swan_taehv_load(swan_taehv *m, swan_weight_loader *loader)
{
    *m = (swan_taehv){.format = SWAN_F32};
    int64_t v[SYMBOLS] = {0};
    SWAN_TRY(extent(loader->ckpt, "decoder.1.weight", 1, &v[Z]));
    SWAN_TRY(extent(loader->ckpt, "decoder.1.weight", 0, &v[W0]));
    SWAN_TRY(extent(loader->ckpt, "decoder.8.weight", 0, &v[W1]));
    SWAN_TRY(extent(loader->ckpt, "decoder.14.weight", 0, &v[W2]));
    SWAN_TRY(extent(loader->ckpt, "decoder.20.weight", 0, &v[W3]));
    SWAN_TRY(extent(loader->ckpt, "decoder.22.weight", 0, &v[RGB]));
    if (v[RGB] != 3)
        return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: tensor decoder.22.weight makes %lld channels a pixel, wanted 3 (taew2_1; decoders "
                         "with a patch size above 1, such as taew2_2, are not supported)", swan_ckpt_path(loader->ckpt), (long long)v[RGB]);
    m->channels = v[Z];
    for (int s = 0; s < SWAN_TAEHV_STAGES; s++) {
        swan_taehv_stage *stage = &m->stage[s];
        stage->width = v[W0 + s];
        stage->next = v[W0 + s + 1];
        stage->grow = grow_of_stage[s];
        v[IN0 + s] = 2 * stage->width;
        v[GROW0 + s] = stage->grow * stage->width;
    }
    loader->values = v;
    swan_status status = swan_weights_bind(loader, specs, sizeof specs / sizeof *specs, -1, m);
    loader->values = NULL;
    if (status) return status;
    return loader->used ? swan_weights_all_used(loader, ignored, "a TAEHV decoder (taew2_1)") : SWAN_OK;
}

int64_t swan_taehv_frames(int64_t latent_frames) { return 4 * latent_frames - SWAN_TAEHV_TRIM; }

/* ---- decode ---- */

/* What survives from batch to batch: the input of every MemBlock, behind the last frame of the batch before. */
typedef struct decode_state {
    const swan_taehv *m;
    swan_ctx *ctx;
    const swan_taehv_sink *sink;
    int64_t H, W; /* of the latent */
    int64_t made; /* frames that left the last stage, trimmed ones included */
    int64_t batch[SWAN_TAEHV_STAGES + 1]; /* frames at most: going into a stage, and leaving the last */
    swan_tensor memory[SWAN_TAEHV_STAGES][SWAN_TAEHV_BLOCKS]; /* [1 + batch, H, W, C] */
} decode_state;

static swan_status frames_tensor(const decode_state *d, int64_t F, int64_t H, int64_t W, int64_t C, const char *name, swan_tensor *out)
{
    return swan_ctx_tensor(d->ctx, d->m->format, 4, (int64_t[]){F, H, W, C}, name, out);
}

/* Frames first .. first + count - 1 of t. */
static swan_tensor frames_of(const swan_tensor *t, int64_t first, int64_t count)
{
    swan_tensor part = *t;
    size_t frame_bytes = (size_t)(t->ne[1] * t->ne[2] * t->ne[3]) * swan_dtype_bytes(t->dtype);
    part.data = (uint8_t *)t->data + (size_t)first * frame_bytes;
    part.ne[0] = count;
    return part;
}

/* Where n frames that go into a block belong. */
static swan_tensor input_of(const decode_state *d, int s, int b, int64_t n) { return frames_of(&d->memory[s][b], 1, n); }

/* y = relu(conv(relu(conv(relu(conv(x ++ past))))) + x) for the n frames of the block's memory; past: each one's frame before. */
static swan_status run_mem_block(decode_state *d, int s, int b, int64_t n, swan_tensor *y)
{
    swan_ctx *ctx = d->ctx;
    const swan_taehv_block *w = &d->m->stage[s].block[b];
    swan_tensor x = input_of(d, s, b, n), past = frames_of(&d->memory[s][b], 0, n), last = frames_of(&d->memory[s][b], n, 1);
    size_t mark = swan_arena_mark(ctx->arena);
    swan_tensor h1, h2;
    SWAN_TRY(frames_tensor(d, n, x.ne[1], x.ne[2], x.ne[3], "mem.h1", &h1));
    SWAN_TRY(frames_tensor(d, n, x.ne[1], x.ne[2], x.ne[3], "mem.h2", &h2));
    SWAN_TRY(swan_op_conv3x3(ctx, &(swan_conv_input){.x = &x, .past = &past}, &w->conv[0], true, NULL, &h1));
    SWAN_TRY(swan_op_conv3x3(ctx, &(swan_conv_input){.x = &h1}, &w->conv[1], true, NULL, &h2));
    SWAN_TRY(swan_op_conv3x3(ctx, &(swan_conv_input){.x = &h2}, &w->conv[2], true, &x, y));
    swan_arena_release(ctx->arena, mark);
    swan_tensor before = frames_of(&d->memory[s][b], 0, 1);
    return swan_op_copy(ctx, &last, &before);
}

/* Pixels of frames that left the last stage, to the sink. */
static swan_status finish(decode_state *d, const swan_tensor *features)
{
    swan_ctx *ctx = d->ctx;
    size_t mark = swan_arena_mark(ctx->arena);
    swan_tensor rgb;
    SWAN_TRY(frames_tensor(d, features->ne[0], features->ne[1], features->ne[2], 3, "frame", &rgb));
    SWAN_TRY(swan_op_conv3x3(ctx, &(swan_conv_input){.x = features}, &d->m->out, false, NULL, &rgb));
    for (int64_t f = 0; f < rgb.ne[0]; f++) {
        int64_t index = d->made++ - SWAN_TAEHV_TRIM;
        swan_tensor at = frames_of(&rgb, f, 1);
        swan_tensor frame = swan_tensor_3d(at.data, at.dtype, at.ne[1], at.ne[2], 3);
        if (index >= 0) SWAN_TRY(d->sink->frame(d->sink->user, ctx, index, &frame));
    }
    swan_arena_release(ctx->arena, mark);
    return SWAN_OK;
}

static swan_status run_stage(decode_state *d, int s, int64_t n);

/* Where the frames made by stage s go: n of them, to the next stage or into tensors of the arena. */
static swan_status output_of(decode_state *d, int s, int64_t n, swan_tensor *out)
{
    if (s + 1 < SWAN_TAEHV_STAGES) {
        *out = input_of(d, s + 1, 0, n);
        return SWAN_OK;
    }
    return frames_tensor(d, n, 2 * d->H << s, 2 * d->W << s, d->m->stage[s].next, "stage.features", out);
}

static swan_status pass_on(decode_state *d, int s, const swan_tensor *frames)
{
    return s + 1 < SWAN_TAEHV_STAGES ? run_stage(d, s + 1, frames->ne[0]) : finish(d, frames);
}

/* One frame y of stage s: each frame that it grows into, through the rest. The 1x1 growth commutes with the nearest-neighbour
 * enlargement, so it runs on the small frame: a quarter of the work. */
static swan_status grow_one(decode_state *d, int s, const swan_tensor *y)
{
    swan_ctx *ctx = d->ctx;
    const swan_taehv_stage *w = &d->m->stage[s];
    bool last = s + 1 == SWAN_TAEHV_STAGES;
    int64_t pixels = y->ne[1] * y->ne[2];
    swan_tensor grown, next;
    SWAN_TRY(frames_tensor(d, 1, y->ne[1], y->ne[2], w->width, "stage.grown", &grown));
    SWAN_TRY(output_of(d, s, 1, &next));
    swan_tensor flat_y = swan_tensor_2d(y->data, y->dtype, pixels, w->width);
    swan_tensor flat_grown = swan_tensor_2d(grown.data, grown.dtype, pixels, w->width);
    for (int j = 0; j < w->grow; j++) {
        if (last && d->made < SWAN_TAEHV_TRIM) { /* a frame that is dropped needs no pixels */
            d->made++;
            continue;
        }
        size_t block_bytes = (size_t)(w->width * w->width) * swan_dtype_bytes(w->grow_weight.dtype);
        swan_linear grow = {.weight = swan_tensor_2d((uint8_t *)w->grow_weight.data + (size_t)j * block_bytes, w->grow_weight.dtype,
                                                     w->width, w->width)};
        SWAN_TRY(swan_op_linear(ctx, &flat_y, &grow, SWAN_EPI_NONE, NULL, &flat_grown));
        SWAN_TRY(swan_op_conv3x3(ctx, &(swan_conv_input){.x = &grown, .upsample = true}, &w->conv, last, NULL, &next));
        SWAN_TRY(pass_on(d, s, &next));
    }
    return SWAN_OK;
}

/* All frames y of a batch of stage s, as many at a time as the rest takes, in parts of nearly one size. */
static swan_status grow_batch(decode_state *d, int s, const swan_tensor *y)
{
    const swan_taehv_stage *w = &d->m->stage[s];
    bool last = s + 1 == SWAN_TAEHV_STAGES;
    int64_t from = 0, n = y->ne[0], most = d->batch[s + 1] / w->grow;
    if (last && d->made < SWAN_TAEHV_TRIM) { /* frames all of whose pixels are dropped */
        from = (SWAN_TAEHV_TRIM - d->made) / w->grow;
        if (from > n) from = n;
        d->made += from * w->grow;
    }
    int64_t left = n - from, parts = (left + most - 1) / most;
    for (int64_t i = 0; i < parts; i++) {
        int64_t begin = from + left * i / parts, end = from + left * (i + 1) / parts;
        size_t mark = swan_arena_mark(d->ctx->arena);
        swan_tensor part = frames_of(y, begin, end - begin), next;
        SWAN_TRY(output_of(d, s, part.ne[0] * w->grow, &next));
        SWAN_TRY(swan_op_up2x2(d->ctx, &part, &w->up, last, &next));
        SWAN_TRY(pass_on(d, s, &next));
        swan_arena_release(d->ctx->arena, mark);
    }
    return SWAN_OK;
}

/* The n frames in the memory of stage s through it; then what it makes of them through the next. */
static swan_status run_stage(decode_state *d, int s, int64_t n)
{
    size_t mark = swan_arena_mark(d->ctx->arena);
    swan_tensor y;
    SWAN_TRY(frames_tensor(d, n, d->H << s, d->W << s, d->m->stage[s].width, "stage.y", &y));
    for (int b = 0; b < SWAN_TAEHV_BLOCKS; b++) {
        swan_tensor to = b + 1 < SWAN_TAEHV_BLOCKS ? input_of(d, s, b + 1, n) : y;
        SWAN_TRY(run_mem_block(d, s, b, n, &to));
    }
    SWAN_TRY(d->m->batch_bytes ? grow_batch(d, s, &y) : grow_one(d, s, &y));
    swan_arena_release(d->ctx->arena, mark);
    return SWAN_OK;
}

/* Frames that a batch has in each stage: what the budget holds, in parts of nearly one size of the batch before. */
static void choose_batches(decode_state *d, int64_t count)
{
    const swan_taehv *m = d->m;
    int64_t before = count;
    for (int s = 0; s <= SWAN_TAEHV_STAGES; s++) {
        bool last = s == SWAN_TAEHV_STAGES; /* large, and cheap to launch */
        int64_t width = last ? m->stage[s - 1].next : m->stage[s].width, grown = s ? m->stage[s - 1].grow : 1;
        int64_t bytes = grown * (d->H << s) * (d->W << s) * width * (int64_t)swan_dtype_bytes(m->format);
        int64_t most = (last ? 2 : 1) * m->batch_bytes / bytes;
        if (most < 1) most = 1;
        int64_t parts = (before + most - 1) / most;
        d->batch[s] = m->batch_bytes ? (before + parts - 1) / parts * grown : 1;
        before = d->batch[s];
    }
}

swan_status swan_taehv_decode(const swan_taehv *m, swan_ctx *ctx, const swan_tensor *latent, const swan_taehv_sink *sink)
{
    return swan_taehv_decode_part(m, ctx, latent, 0, latent->ne[1], sink);
}

swan_status swan_taehv_decode_part(const swan_taehv *m, swan_ctx *ctx, const swan_tensor *latent, int64_t first, int64_t count,
                                   const swan_taehv_sink *sink)
{
    decode_state d = {.m = m, .ctx = ctx, .sink = sink, .H = latent->ne[2], .W = latent->ne[3]};
    choose_batches(&d, count);
    size_t mark = swan_arena_mark(ctx->arena);
    swan_tensor z;
    SWAN_TRY(frames_tensor(&d, d.batch[0], d.H, d.W, m->channels, "latent.frames", &z));
    for (int s = 0; s < SWAN_TAEHV_STAGES; s++)
        for (int b = 0; b < SWAN_TAEHV_BLOCKS; b++) {
            swan_tensor *memory = &d.memory[s][b];
            SWAN_TRY(frames_tensor(&d, 1 + d.batch[s], d.H << s, d.W << s, m->stage[s].width, "mem.input", memory));
            swan_tensor before = frames_of(memory, 0, 1);
            SWAN_TRY(swan_op_zero(ctx, &before));
        }
    int64_t parts = (count + d.batch[0] - 1) / d.batch[0];
    for (int64_t i = 0; i < parts; i++) {
        int64_t begin = count * i / parts, n = count * (i + 1) / parts - begin;
        swan_tensor part = frames_of(&z, 0, n), x = input_of(&d, 0, 0, n);
        SWAN_TRY(swan_op_latent_frame(ctx, latent, first + begin, &part));
        SWAN_TRY(swan_op_map(ctx, SWAN_MAP_CLAMP_TANH3, &part, &part));
        SWAN_TRY(swan_op_conv3x3(ctx, &(swan_conv_input){.x = &part}, &m->in, true, NULL, &x));
        SWAN_TRY(run_stage(&d, 0, n));
    }
    swan_arena_release(ctx->arena, mark);
    return SWAN_OK;
}
