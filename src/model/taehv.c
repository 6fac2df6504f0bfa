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
    *m = (swan_taehv){0};
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

/* What survives from frame to frame: the input of every MemBlock, two buffers used in turn. */
typedef struct decode_state {
    const swan_taehv *m;
    swan_ctx *ctx;
    const swan_taehv_sink *sink;
    int64_t H, W;      /* of the latent */
    int64_t made;      /* frames that left the last stage, trimmed ones included */
    struct {
        swan_tensor input[2];
        int64_t seen; /* frames that went through */
    } memory[SWAN_TAEHV_STAGES][SWAN_TAEHV_BLOCKS];
} decode_state;

static swan_status frame_tensor(swan_ctx *ctx, int64_t H, int64_t W, int64_t C, const char *name, swan_tensor *out)
{
    return swan_ctx_tensor(ctx, ctx->kernels->format, 3, (int64_t[]){H, W, C}, name, out);
}

/* y = relu(conv(relu(conv(relu(conv(x ++ past))))) + x). x is the block's own memory buffer; y is another. */
static swan_status run_mem_block(decode_state *d, int s, int b, swan_tensor *y)
{
    swan_ctx *ctx = d->ctx;
    const swan_taehv_block *w = &d->m->stage[s].block[b];
    int64_t seen = d->memory[s][b].seen++;
    const swan_tensor *x = &d->memory[s][b].input[seen % 2];
    swan_tensor past = d->memory[s][b].input[(seen + 1) % 2];
    if (seen == 0) past.data = NULL; /* zeros */
    size_t mark = swan_arena_mark(ctx->arena);
    swan_tensor h1, h2;
    SWAN_TRY(frame_tensor(ctx, x->ne[0], x->ne[1], x->ne[2], "mem.h1", &h1));
    SWAN_TRY(frame_tensor(ctx, x->ne[0], x->ne[1], x->ne[2], "mem.h2", &h2));
    SWAN_TRY(swan_op_conv3x3(ctx, &(swan_conv_input){.x = x, .past = &past}, &w->conv[0], true, NULL, &h1));
    SWAN_TRY(swan_op_conv3x3(ctx, &(swan_conv_input){.x = &h1}, &w->conv[1], true, NULL, &h2));
    SWAN_TRY(swan_op_conv3x3(ctx, &(swan_conv_input){.x = &h2}, &w->conv[2], true, x, y));
    swan_arena_release(ctx->arena, mark);
    return SWAN_OK;
}

/* Where the first MemBlock of stage s wants its input for the coming frame. */
static swan_tensor *input_of(decode_state *d, int s, int b) { return &d->memory[s][b].input[d->memory[s][b].seen % 2]; }

static swan_status finish(decode_state *d, const swan_tensor *features)
{
    swan_ctx *ctx = d->ctx;
    int64_t index = d->made++ - SWAN_TAEHV_TRIM;
    size_t mark = swan_arena_mark(ctx->arena);
    swan_tensor rgb;
    SWAN_TRY(frame_tensor(ctx, features->ne[0], features->ne[1], 3, "frame", &rgb));
    SWAN_TRY(swan_op_conv3x3(ctx, &(swan_conv_input){.x = features}, &d->m->out, false, NULL, &rgb));
    SWAN_TRY(d->sink->frame(d->sink->user, ctx, index, &rgb));
    swan_arena_release(ctx->arena, mark);
    return SWAN_OK;
}

/* One frame through stage s, whose first input buffer is filled; then each frame that it makes through the next. The 1x1
 * growth commutes with the nearest-neighbour enlargement, so it runs on the small frame: a quarter of the work. */
static swan_status run_stage(decode_state *d, int s)
{
    swan_ctx *ctx = d->ctx;
    const swan_taehv_stage *w = &d->m->stage[s];
    int64_t H = d->H << s, W = d->W << s;
    size_t mark = swan_arena_mark(ctx->arena);
    swan_tensor y, grown, next;
    SWAN_TRY(frame_tensor(ctx, H, W, w->width, "stage.y", &y));
    SWAN_TRY(frame_tensor(ctx, H, W, w->width, "stage.grown", &grown));
    for (int b = 0; b < SWAN_TAEHV_BLOCKS; b++) {
        swan_tensor *to = b + 1 < SWAN_TAEHV_BLOCKS ? input_of(d, s, b + 1) : &y;
        SWAN_TRY(run_mem_block(d, s, b, to));
    }
    bool last = s + 1 == SWAN_TAEHV_STAGES;
    if (last) SWAN_TRY(frame_tensor(ctx, 2 * H, 2 * W, w->next, "stage.features", &next));
    swan_tensor flat_y = swan_tensor_2d(y.data, y.dtype, H * W, w->width);
    swan_tensor flat_grown = swan_tensor_2d(grown.data, grown.dtype, H * W, w->width);
    for (int j = 0; j < w->grow; j++) {
        if (last && d->made < SWAN_TAEHV_TRIM) { /* a frame that is dropped needs no pixels */
            d->made++;
            continue;
        }
        size_t block_bytes = (size_t)(w->width * w->width) * swan_dtype_bytes(w->grow_weight.dtype);
        swan_linear grow = {.weight = swan_tensor_2d((uint8_t *)w->grow_weight.data + (size_t)j * block_bytes, w->grow_weight.dtype,
                                                     w->width, w->width)};
        SWAN_TRY(swan_op_linear(ctx, &flat_y, &grow, SWAN_EPI_NONE, NULL, &flat_grown));
        swan_tensor *to = last ? &next : input_of(d, s + 1, 0);
        SWAN_TRY(swan_op_conv3x3(ctx, &(swan_conv_input){.x = &grown, .upsample = true}, &w->conv, last, NULL, to));
        SWAN_TRY(last ? finish(d, &next) : run_stage(d, s + 1));
    }
    swan_arena_release(ctx->arena, mark);
    return SWAN_OK;
}

swan_status swan_taehv_decode(const swan_taehv *m, swan_ctx *ctx, const swan_tensor *latent, const swan_taehv_sink *sink)
{
    return swan_taehv_decode_part(m, ctx, latent, 0, latent->ne[1], sink);
}

swan_status swan_taehv_decode_part(const swan_taehv *m, swan_ctx *ctx, const swan_tensor *latent, int64_t first, int64_t count,
                                   const swan_taehv_sink *sink)
{
    decode_state d = {.m = m, .ctx = ctx, .sink = sink, .H = latent->ne[2], .W = latent->ne[3]};
    size_t mark = swan_arena_mark(ctx->arena);
    swan_tensor z;
    SWAN_TRY(frame_tensor(ctx, d.H, d.W, m->channels, "latent.frame", &z));
    for (int s = 0; s < SWAN_TAEHV_STAGES; s++)
        for (int b = 0; b < SWAN_TAEHV_BLOCKS; b++)
            for (int i = 0; i < 2; i++)
                SWAN_TRY(frame_tensor(ctx, d.H << s, d.W << s, m->stage[s].width, "mem.input", &d.memory[s][b].input[i]));
    for (int64_t t = first; t < first + count; t++) {
        SWAN_TRY(swan_op_latent_frame(ctx, latent, t, &z));
        SWAN_TRY(swan_op_map(ctx, SWAN_MAP_CLAMP_TANH3, &z, &z));
        SWAN_TRY(swan_op_conv3x3(ctx, &(swan_conv_input){.x = &z}, &m->in, true, NULL, input_of(&d, 0, 0)));
        SWAN_TRY(run_stage(&d, 0));
    }
    swan_arena_release(ctx->arena, mark);
    return SWAN_OK;
}
