/* The forward pass of Wan's transformer, block by block. Steps in comments follow docs/MODEL-wan.md. */
#include "model/wan_dit.h"

#include <math.h>
#include <string.h>

/* Rows of the feed-forward's hidden tensor at a time, on the host: it is 6 times as wide as the rest. The result does not
 * depend on it. */
#define FFN_ROWS 4096

/* ---- text: once per prompt ---- */

int64_t swan_wan_text_rows(int64_t n, bool padded)
{
    int64_t rows = n < SWAN_TEXT_TOKENS ? n + 1 : n;
    if (!padded) return rows;
    int64_t shape = SWAN_TEXT_TOKENS >> (SWAN_WAN_TEXT_SHAPES - 1);
    while (shape < rows) shape *= 2;
    return shape;
}

int swan_wan_text_shape(int64_t rows)
{
    int shape = 0;
    while ((SWAN_TEXT_TOKENS >> (SWAN_WAN_TEXT_SHAPES - 1 - shape)) < rows) shape++;
    return shape;
}

int64_t swan_wan_text_tokens(int shape) { return (SWAN_TEXT_TOKENS >> (SWAN_WAN_TEXT_SHAPES - 1 - shape)) - 1; }

/* What a product may read at a time: two of these pass through a GPU that the weights do not fit. */
#define TEXT_GROUP_BYTES ((int64_t)96 << 20)

int swan_wan_text_group(const swan_wan_dit *m)
{
    int layers = m->config.layers, group = (layers + 2) / 3;
    int64_t most = TEXT_GROUP_BYTES / (4 * m->config.dim * m->config.dim); /* two matrices of bf16 */
    if (group > most) group = most > 1 ? (int)most : 1;
    while (layers % group) group--;
    return group;
}

/* The keys and values of a group of blocks as one layer, on a GPU: there their weights lie behind each other. */
static bool join_group(const swan_wan_dit *m, const swan_ctx *ctx, int first, swan_linear *out)
{
    const swan_linear *layer[2 * SWAN_WAN_MAX_LAYERS];
    int group = swan_wan_text_group(m);
    for (int i = 0; i < group; i++) {
        layer[2 * i] = &m->block[first + i].cross.k;
        layer[2 * i + 1] = &m->block[first + i].cross.v;
    }
    return !swan_ctx_on_host(ctx) && swan_linear_join(layer, 2 * group, out);
}

static bool join_all(const swan_wan_dit *m, const swan_ctx *ctx)
{
    swan_linear one;
    bool joined = true;
    for (int i = 0; i < m->config.layers && joined; i += swan_wan_text_group(m)) joined = join_group(m, ctx, i, &one);
    return joined;
}

swan_status swan_wan_text_reserve(const swan_wan_dit *m, swan_ctx *ctx, int64_t n, swan_wan_text *text)
{
    if (n < 1 || n > SWAN_TEXT_TOKENS) return SWAN_BUG("text: %lld tokens", (long long)n);
    *text = (swan_wan_text){.rows = swan_wan_text_rows(n, !swan_ctx_on_host(ctx))};
    int64_t rows = m->config.layers * text->rows, dim = m->config.dim;
    swan_tensor both;
    SWAN_TRY(swan_ctx_tensor_2d(ctx, 2 * rows, dim, "text.kv", &both));
    if (join_all(m, ctx)) text->ld = 2 * swan_wan_text_group(m) * dim;
    size_t v = (size_t)(text->ld ? dim : rows * dim) * swan_dtype_bytes(both.dtype);
    text->k = swan_tensor_2d(both.data, both.dtype, rows, dim);
    text->v = swan_tensor_2d((uint8_t *)both.data + v, both.dtype, rows, dim);
    return swan_ctx_tensor(ctx, SWAN_F32, 1, &text->rows, "text.bias", &text->bias);
}

void swan_wan_text_bias(int64_t n, int64_t rows, float *bias)
{
    for (int64_t i = 0; i < rows; i++) bias[i] = i < n ? 0 : -INFINITY;
    /* exp(s + log c) = c exp(s): one key with this bias weighs as much as c equal keys */
    if (n < SWAN_TEXT_TOKENS) bias[n] = logf((float)(SWAN_TEXT_TOKENS - n));
}

/* The rows of one block in k or v: columns of its group's, or rows behind those of the block before. */
static swan_tensor text_rows(const swan_wan_text *text, const swan_tensor *all, int block)
{
    int64_t dim = all->ne[1], group = text->ld / (2 * dim);
    int64_t at = text->ld ? block / group * text->rows * text->ld + block % group * 2 * dim : block * text->rows * dim;
    return swan_tensor_2d((uint8_t *)all->data + (size_t)at * swan_dtype_bytes(all->dtype), all->dtype, text->rows, dim);
}

/* Keys and values of a group of blocks by one product. */
static swan_status make_group(const swan_wan_dit *m, swan_ctx *ctx, const swan_tensor *embedded, int first, ptrdiff_t shift,
                              swan_wan_text *text)
{
    swan_linear all;
    if (!join_group(m, ctx, first, &all)) return SWAN_BUG("text: weights of blocks from %d on do not lie together", first);
    swan_weights_shift(&all.weight, shift);
    swan_weights_shift(&all.bias, shift);
    swan_tensor both = swan_tensor_2d(text_rows(text, &text->k, first).data, text->k.dtype, text->rows, text->ld);
    SWAN_TRY(swan_op_linear(ctx, embedded, &all, SWAN_EPI_NONE, NULL, &both));
    SWAN_TRY(swan_op_round(ctx, &both));
    for (int i = first; i < first + swan_wan_text_group(m); i++) {
        swan_tensor k = text_rows(text, &text->k, i), weight = m->block[i].cross.norm_k;
        swan_weights_shift(&weight, shift);
        SWAN_TRY(swan_op_rms_norm_columns(ctx, &k, text->ld, &(swan_rms_norm){.weight = &weight, .eps = m->config.eps}));
    }
    return swan_op_round(ctx, &both);
}

/* Those of one block by themselves. */
static swan_status make_block(const swan_wan_dit *m, swan_ctx *ctx, const swan_tensor *embedded, int block, ptrdiff_t shift,
                              swan_wan_text *text)
{
    swan_wan_attention_weights w = m->block[block].cross;
    swan_tensor *const shifted[] = {&w.k.weight, &w.k.bias, &w.v.weight, &w.v.bias, &w.norm_k};
    for (size_t i = 0; i < sizeof shifted / sizeof *shifted; i++) swan_weights_shift(shifted[i], shift);
    swan_tensor k = text_rows(text, &text->k, block), v = text_rows(text, &text->v, block);
    SWAN_TRY(swan_op_linear(ctx, embedded, &w.k, SWAN_EPI_NONE, NULL, &k));
    SWAN_TRY(swan_op_round(ctx, &k));
    SWAN_TRY(swan_op_rms_norm(ctx, &k, &w.norm_k, m->config.eps, NULL, &k));
    SWAN_TRY(swan_op_round(ctx, &k));
    SWAN_TRY(swan_op_linear(ctx, embedded, &w.v, SWAN_EPI_NONE, NULL, &v));
    return swan_op_round(ctx, &v);
}

swan_status swan_wan_text_run(const swan_wan_dit *m, swan_ctx *ctx, const swan_tensor *context, const swan_weight_fetch *fetch,
                              swan_wan_text *text)
{
    const swan_wan_config *c = &m->config;
    int group = swan_wan_text_group(m);
    size_t mark = swan_arena_mark(ctx->arena);
    swan_tensor hidden, embedded;
    SWAN_TRY(swan_ctx_tensor_2d(ctx, text->rows, c->dim, "text.hidden", &hidden));
    SWAN_TRY(swan_ctx_tensor_2d(ctx, text->rows, c->dim, "text.embedded", &embedded));
    SWAN_TRY(swan_op_linear(ctx, context, &m->text1, SWAN_EPI_GELU, NULL, &hidden));
    SWAN_TRY(swan_op_round(ctx, &hidden));
    SWAN_TRY(swan_op_linear(ctx, &hidden, &m->text2, SWAN_EPI_NONE, NULL, &embedded));
    SWAN_TRY(swan_op_round(ctx, &embedded));
    for (int first = 0; first < c->layers; first += group) {
        ptrdiff_t shift = 0;
        if (fetch && ctx->mode != SWAN_DRY) SWAN_TRY(fetch->take(fetch->user, first / group, &shift));
        if (text->ld) SWAN_TRY(make_group(m, ctx, &embedded, first, shift, text));
        for (int i = first; i < first + group && !text->ld; i++) SWAN_TRY(make_block(m, ctx, &embedded, i, shift, text));
    }
    swan_arena_release(ctx->arena, mark);
    return SWAN_OK;
}

/* ---- geometry ---- */

void swan_wan_rope(swan_grid grid, int64_t head_dim, const int32_t *order, float *table)
{
    int64_t half = head_dim / 2, side = head_dim / 6, pairs[3] = {half - 2 * side, side, side}; /* t, h, w: 22, 21, 21 of 64 */
    for (int64_t l = 0; l < swan_grid_tokens(grid); l++) {
        int64_t at = order ? order[l] : l;
        int64_t position[3] = {at / (grid.h * grid.w), at / grid.w % grid.h, at % grid.w};
        float *row = table + l * half * 2;
        for (int axis = 0; axis < 3; axis++)
            for (int64_t i = 0; i < pairs[axis]; i++, row += 2) {
                double angle = (double)position[axis] * pow(10000.0, -(double)i / (double)pairs[axis]);
                row[0] = (float)cos(angle);
                row[1] = (float)sin(angle);
            }
    }
}

/* ---- time: once per schedule ---- */

/* A timestep's embedding: temb f32 [1, dim] for the head, its projection f32 [1, 6 * dim] for the blocks. */
typedef struct time_state {
    swan_tensor temb, projected;
} time_state;

static swan_status embed_time(const swan_wan_dit *m, swan_ctx *ctx, double timestep, time_state *time)
{
    const swan_wan_config *c = &m->config;
    SWAN_TRY(swan_ctx_tensor(ctx, SWAN_F32, 2, (int64_t[]){1, c->dim}, "time.embedding", &time->temb));
    SWAN_TRY(swan_ctx_tensor(ctx, SWAN_F32, 2, (int64_t[]){1, 6 * c->dim}, "time.projection", &time->projected));
    size_t mark = swan_arena_mark(ctx->arena);
    swan_tensor wave, hidden;
    SWAN_TRY(swan_ctx_tensor(ctx, SWAN_F32, 2, (int64_t[]){1, c->freq_dim}, "time.wave", &wave));
    SWAN_TRY(swan_ctx_tensor(ctx, SWAN_F32, 2, (int64_t[]){1, c->dim}, "time.hidden", &hidden));
    SWAN_TRY(swan_op_embed_timestep(ctx, timestep, &wave));
    SWAN_TRY(swan_op_round(ctx, &wave));
    SWAN_TRY(swan_op_linear(ctx, &wave, &m->time1, SWAN_EPI_SILU, NULL, &hidden));
    SWAN_TRY(swan_op_round(ctx, &hidden));
    SWAN_TRY(swan_op_linear(ctx, &hidden, &m->time2, SWAN_EPI_NONE, NULL, &time->temb));
    SWAN_TRY(swan_op_round(ctx, &time->temb));
    SWAN_TRY(swan_op_map(ctx, SWAN_MAP_SILU, &time->temb, &hidden));
    SWAN_TRY(swan_op_linear(ctx, &hidden, &m->time_proj, SWAN_EPI_NONE, NULL, &time->projected));
    SWAN_TRY(swan_op_round(ctx, &time->projected));
    swan_arena_release(ctx->arena, mark);
    return SWAN_OK;
}

int64_t swan_wan_modulation_rows(const swan_wan_dit *m) { return 6 * (int64_t)m->config.layers + 2; }

/* Rows [first, first + n) of a modulation tensor f32 [any, dim]. */
static swan_tensor modulation_rows(const swan_tensor *e, int64_t dim, int64_t first, int64_t n)
{
    return swan_tensor_2d((float *)e->data + first * dim, SWAN_F32, n, dim);
}

swan_status swan_wan_modulation_run(const swan_wan_dit *m, swan_ctx *ctx, double timestep, swan_tensor *out)
{
    int64_t dim = m->config.dim, head = 6 * (int64_t)m->config.layers;
    size_t mark = swan_arena_mark(ctx->arena);
    time_state time;
    SWAN_TRY(embed_time(m, ctx, timestep, &time));
    for (int i = 0; i < m->config.layers; i++) {
        swan_tensor e = modulation_rows(out, dim, 6 * i, 6);
        SWAN_TRY(swan_op_combine(ctx, 2, (double[]){1, 1},
                                 (const swan_tensor *const[]){&m->block[i].modulation, &time.projected}, false, &e));
    }
    for (int i = 0; i < 2; i++) {
        swan_tensor e = modulation_rows(out, dim, head + i, 1), table = modulation_rows(&m->head_modulation, dim, i, 1);
        SWAN_TRY(swan_op_combine(ctx, 2, (double[]){1, 1}, (const swan_tensor *const[]){&table, &time.temb}, ctx->parity_bf16, &e));
    }
    swan_arena_release(ctx->arena, mark);
    return SWAN_OK;
}

/* ---- one step ---- */

/* Row i of a modulation tensor f32 [n, dim]. */
static swan_tensor row_of(const swan_tensor *e, int64_t dim, int i)
{
    return swan_tensor_1d((float *)e->data + i * dim, SWAN_F32, dim);
}

/* q, k, v and, for VSA, the gate: linear layers of h. On a GPU columns of one matrix, where their parameters lie together, as the
 * weight table puts them: one wide product is faster than narrow ones. */
static swan_status project(swan_ctx *ctx, const swan_wan_block *w, bool gated, const swan_tensor *h, swan_qkv *out)
{
    static const char *const names[] = {"self.q", "self.k", "self.v", "self.gate"};
    const swan_linear *const layer[] = {&w->self.q, &w->self.k, &w->self.v, &w->gate};
    swan_tensor *const part[] = {&out->q, &out->k, &out->v, &out->gate};
    int count = gated ? 4 : 3;
    int64_t L = h->ne[0], dim = w->self.q.weight.ne[0];
    swan_linear one;
    *out = (swan_qkv){0};
    if (!swan_ctx_on_host(ctx) && !ctx->parity_bf16 && swan_linear_join(layer, count, &one)) { /* rounding: tensor by tensor */
        swan_tensor all;
        SWAN_TRY(swan_ctx_tensor_2d(ctx, L, count * dim, "self.qkv", &all));
        SWAN_TRY(swan_op_linear(ctx, h, &one, SWAN_EPI_NONE, NULL, &all));
        for (int i = 0; i < count; i++) {
            *part[i] = swan_tensor_2d((uint8_t *)all.data + (size_t)(i * dim) * swan_dtype_bytes(all.dtype), all.dtype, L, dim);
            part[i]->name = names[i];
        }
        out->ld = count * dim;
        return SWAN_OK;
    }
    for (int i = 0; i < count; i++) SWAN_TRY(swan_ctx_tensor_2d(ctx, L, dim, names[i], part[i]));
    for (int i = 0; i < count; i++) {
        SWAN_TRY(swan_op_linear(ctx, h, layer[i], SWAN_EPI_NONE, NULL, part[i]));
        SWAN_TRY(swan_op_round(ctx, part[i]));
    }
    out->ld = dim;
    return SWAN_OK;
}

/* x += gate * to_out(attention(norm(x))) */
static swan_status self_attention(const swan_wan_dit *m, const swan_wan_block *w, swan_ctx *ctx, const swan_wan_geometry *g,
                                  const swan_tensor *e, swan_tensor *x)
{
    const swan_wan_config *c = &m->config;
    size_t mark = swan_arena_mark(ctx->arena);
    swan_tensor h, shift = row_of(e, c->dim, 0), scale = row_of(e, c->dim, 1), gate = row_of(e, c->dim, 2);
    swan_qkv in;
    SWAN_TRY(swan_ctx_tensor_2d(ctx, x->ne[0], c->dim, "self.h", &h));
    SWAN_TRY(swan_op_modulated_norm(ctx, x, scale.data, shift.data, c->eps, &h));
    SWAN_TRY(swan_op_round(ctx, &h));
    SWAN_TRY(project(ctx, w, g->attention.kind == SWAN_ATTN_VSA, &h, &in));
    swan_qk_norm norm = {.q = {&w->self.norm_q, &g->rope, c->eps}, .k = {&w->self.norm_k, &g->rope, c->eps}};
    SWAN_TRY(swan_self_attention_run(&g->attention, ctx, &norm, &in, &h)); /* h is free again: it takes the result */
    SWAN_TRY(swan_op_round(ctx, &h));
    SWAN_TRY(swan_op_linear(ctx, &h, &w->self.o, SWAN_EPI_GATED_ADD, &gate, x));
    swan_arena_release(ctx->arena, mark);
    return SWAN_OK;
}

/* x += to_out(attention(norm(x), text)) */
static swan_status cross_attention(const swan_wan_dit *m, const swan_wan_block *w, swan_ctx *ctx, const swan_wan_text *text,
                                   int block, swan_tensor *x)
{
    const swan_wan_config *c = &m->config;
    size_t mark = swan_arena_mark(ctx->arena);
    swan_tensor h;
    swan_qkv in = {.k = text_rows(text, &text->k, block), .v = text_rows(text, &text->v, block), .ld_kv = text->ld};
    SWAN_TRY(swan_ctx_tensor_2d(ctx, x->ne[0], c->dim, "cross.h", &h));
    SWAN_TRY(swan_ctx_tensor_2d(ctx, x->ne[0], c->dim, "cross.q", &in.q));
    SWAN_TRY(swan_op_affine_norm(ctx, x, &w->norm_weight, &w->norm_bias, c->eps, &h));
    SWAN_TRY(swan_op_round(ctx, &h));
    SWAN_TRY(swan_op_round(ctx, x)); /* the reference normalises the unrounded sum, then stores it in bf16 */
    SWAN_TRY(swan_op_linear(ctx, &h, &w->cross.q, SWAN_EPI_NONE, NULL, &in.q));
    SWAN_TRY(swan_op_round(ctx, &in.q));
    SWAN_TRY(swan_op_rms_norm(ctx, &in.q, &w->cross.norm_q, c->eps, NULL, &in.q));
    SWAN_TRY(swan_op_round(ctx, &in.q));
    swan_attention how = {.heads = c->heads, .scale = 1.0f / sqrtf((float)c->head_dim), .key_bias = &text->bias};
    SWAN_TRY(swan_op_attention(ctx, &how, &in, &h));
    SWAN_TRY(swan_op_round(ctx, &h));
    SWAN_TRY(swan_op_linear(ctx, &h, &w->cross.o, SWAN_EPI_ADD, NULL, x));
    SWAN_TRY(swan_op_round(ctx, x));
    swan_arena_release(ctx->arena, mark);
    return SWAN_OK;
}

/* Rows [first, first + rows) of x. */
static swan_tensor rows_of(const swan_tensor *x, int64_t first, int64_t rows)
{
    uint8_t *data = (uint8_t *)x->data + (size_t)(first * x->ne[1]) * swan_dtype_bytes(x->dtype);
    return swan_tensor_2d(data, x->dtype, rows, x->ne[1]);
}

/* Rows of the hidden tensor at a time. On a GPU few and even parts, each a multiple of 256 rows, which matrix products there
 * take as whole tiles, and no larger than what self-attention needs anyway: q, k, v and h. */
static int64_t ffn_rows(const swan_wan_config *c, const swan_ctx *ctx, int64_t L)
{
    if (swan_ctx_on_host(ctx)) return FFN_ROWS;
    int64_t parts = (c->dim + c->ffn + 4 * c->dim - 1) / (4 * c->dim);
    return ((L + parts - 1) / parts + 255) / 256 * 256;
}

/* x += gate * down(gelu(up(norm(x)))) */
static swan_status feed_forward(const swan_wan_dit *m, const swan_wan_block *w, swan_ctx *ctx, const swan_tensor *e,
                                swan_tensor *x)
{
    const swan_wan_config *c = &m->config;
    swan_tensor shift = row_of(e, c->dim, 3), scale = row_of(e, c->dim, 4), gate = row_of(e, c->dim, 5);
    const int64_t most = ffn_rows(c, ctx, x->ne[0]);
    for (int64_t first = 0; first < x->ne[0]; first += most) {
        int64_t rows = x->ne[0] - first < most ? x->ne[0] - first : most;
        size_t mark = swan_arena_mark(ctx->arena);
        swan_tensor h, hidden, part = rows_of(x, first, rows);
        SWAN_TRY(swan_ctx_tensor_2d(ctx, rows, c->dim, "ffn.h", &h));
        SWAN_TRY(swan_ctx_tensor_2d(ctx, rows, c->ffn, "ffn.hidden", &hidden));
        SWAN_TRY(swan_op_modulated_norm(ctx, &part, scale.data, shift.data, c->eps, &h));
        SWAN_TRY(swan_op_round(ctx, &h));
        SWAN_TRY(swan_op_linear(ctx, &h, &w->up, SWAN_EPI_GELU, NULL, &hidden));
        SWAN_TRY(swan_op_round(ctx, &hidden));
        SWAN_TRY(swan_op_linear(ctx, &hidden, &w->down, SWAN_EPI_GATED_ADD, &gate, &part));
        SWAN_TRY(swan_op_round(ctx, &part));
        swan_arena_release(ctx->arena, mark);
    }
    return SWAN_OK;
}

/* Of block i, what steps read, where it is now. */
static void shift_block(swan_wan_block *w, ptrdiff_t shift)
{
    swan_linear *const layers[] = {&w->self.q, &w->self.k, &w->self.v, &w->gate, &w->self.o, &w->cross.q, &w->cross.o, &w->up, &w->down};
    swan_tensor *const vectors[] = {&w->self.norm_q, &w->self.norm_k, &w->norm_weight, &w->norm_bias, &w->cross.norm_q};
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        swan_weights_shift(&layers[i]->weight, shift);
        swan_weights_shift(&layers[i]->bias, shift);
    }
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) swan_weights_shift(vectors[i], shift);
}

static swan_status run_part(const swan_wan_dit *m, int number, swan_ctx *ctx, const swan_wan_step *step, swan_tensor *x)
{
    int i = number / SWAN_WAN_PARTS;
    swan_wan_block w = m->block[i];
    if (step->shift) shift_block(&w, step->shift[i]);
    swan_tensor e = modulation_rows(step->modulation, m->config.dim, 6 * i, 6);
    switch (number % SWAN_WAN_PARTS) {
    case 0: return self_attention(m, &w, ctx, step->geometry, &e, x);
    case 1: return cross_attention(m, &w, ctx, step->text, i, x);
    default: return feed_forward(m, &w, ctx, &e, x);
    }
}

swan_status swan_wan_dit_reserve(const swan_wan_dit *m, swan_ctx *ctx, const swan_wan_geometry *geometry, swan_tensor *x)
{
    return swan_ctx_tensor_2d(ctx, swan_grid_tokens(geometry->grid), m->config.dim, "residual", x);
}

swan_status swan_wan_dit_begin(const swan_wan_dit *m, swan_ctx *ctx, const swan_wan_step *step, const swan_tensor *latent,
                               swan_tensor *x)
{
    const swan_tensor *order = &step->geometry->order;
    size_t mark = swan_arena_mark(ctx->arena);
    swan_tensor patches;
    SWAN_TRY(swan_ctx_tensor_2d(ctx, x->ne[0], 4 * m->config.in_channels, "patches", &patches));
    SWAN_TRY(swan_op_patchify(ctx, latent, order->data ? order : NULL, &patches));
    SWAN_TRY(swan_op_linear(ctx, &patches, &m->patch, SWAN_EPI_NONE, NULL, x));
    SWAN_TRY(swan_op_round(ctx, x));
    swan_arena_release(ctx->arena, mark);
    return SWAN_OK;
}

swan_status swan_wan_dit_parts(const swan_wan_dit *m, swan_ctx *ctx, const swan_wan_step *step, int from, int end, swan_tensor *x)
{
    for (int i = from; i < end; i++) SWAN_TRY(run_part(m, i, ctx, step, x));
    return SWAN_OK;
}

/* velocity = unpatchify(proj_out(LN(x) * (1 + scale) + shift)) */
swan_status swan_wan_dit_end(const swan_wan_dit *m, swan_ctx *ctx, const swan_wan_step *step, const swan_tensor *x,
                             swan_tensor *velocity)
{
    const swan_wan_config *c = &m->config;
    const swan_tensor *order = &step->geometry->order;
    size_t mark = swan_arena_mark(ctx->arena);
    swan_tensor h, patches, e = modulation_rows(step->modulation, c->dim, 6 * (int64_t)c->layers, 2);
    SWAN_TRY(swan_ctx_tensor_2d(ctx, x->ne[0], c->dim, "head.h", &h));
    SWAN_TRY(swan_ctx_tensor_2d(ctx, x->ne[0], 4 * c->out_channels, "head.patches", &patches));
    swan_tensor shift = row_of(&e, c->dim, 0), scale = row_of(&e, c->dim, 1);
    SWAN_TRY(swan_op_modulated_norm(ctx, x, scale.data, shift.data, c->eps, &h));
    SWAN_TRY(swan_op_round(ctx, &h));
    SWAN_TRY(swan_op_linear(ctx, &h, &m->head, SWAN_EPI_NONE, NULL, &patches));
    SWAN_TRY(swan_op_round(ctx, &patches));
    SWAN_TRY(swan_op_unpatchify(ctx, &patches, order->data ? order : NULL, velocity));
    swan_arena_release(ctx->arena, mark);
    return SWAN_OK;
}

swan_status swan_wan_dit_forward(const swan_wan_dit *m, swan_ctx *ctx, const swan_wan_step *step, const swan_tensor *latent,
                                 swan_tensor *velocity)
{
    size_t mark = swan_arena_mark(ctx->arena);
    swan_tensor x;
    SWAN_TRY(swan_wan_dit_reserve(m, ctx, step->geometry, &x));
    SWAN_TRY(swan_wan_dit_begin(m, ctx, step, latent, &x));
    SWAN_TRY(swan_wan_dit_parts(m, ctx, step, 0, SWAN_WAN_PARTS * m->config.layers, &x));
    SWAN_TRY(swan_wan_dit_end(m, ctx, step, &x, velocity));
    swan_arena_release(ctx->arena, mark);
    return SWAN_OK;
}
