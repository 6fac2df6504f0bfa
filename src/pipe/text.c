#include "pipe/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipe/memory.h"
#include "pipe/session.h"
#include "pipe/synthetic.h"
#include "tok/clean.h"

/* ---- ids ---- */

bool swan_session_shape_ends(int64_t n)
{
    return swan_wan_text_rows(n, true) != swan_wan_text_rows(n + 1, true) || swan_umt5_padded(n) != swan_umt5_padded(n + 1);
}

swan_status swan_session_tokenize(const swan_engine *engine, const char *prompt, int32_t *ids, int *count)
{
    if (engine->synthetic) {
        swan_synthetic_tokenize(engine->umt5.config.vocab, prompt, ids, SWAN_TEXT_TOKENS, count);
        return SWAN_OK;
    }
    char *clean;
    SWAN_TRY(swan_prompt_clean(prompt, strlen(prompt), &clean));
    swan_status status = swan_tokenizer_encode(engine->tokenizer, clean, ids, SWAN_TEXT_TOKENS, count);
    free(clean);
    return status;
}

/* ---- shapes and places ---- */

/* Rows of the encoder for n tokens: padding behind them on a GPU. */
static int64_t encoder_rows(const struct swan_session *s, int64_t n) { return swan_engine_on_host(s->engine) ? n : swan_umt5_padded(n); }

/* The first rows of the context. */
static swan_tensor context_rows(const struct swan_session *s, int64_t rows)
{
    return swan_tensor_2d(s->state.context.data, s->state.context.dtype, rows, s->engine->umt5.config.width);
}

swan_status swan_session_place_text(struct swan_session *s, int which, int64_t n)
{
    const swan_engine *e = s->engine;
    const swan_tensor *memory = &s->state.text_memory[which];
    swan_arena arena, *activations = s->ctx.arena;
    if (s->ctx.mode == SWAN_DRY) swan_arena_dry(&arena, "text");
    else swan_arena_over(&arena, "text", memory->data, (size_t)memory->ne[0], !swan_engine_on_host(e));
    s->ctx.arena = &arena;
    swan_status status = swan_wan_text_reserve(&e->dit, &s->ctx, n, &s->text[which]);
    s->ctx.arena = activations;
    return status;
}

/* ---- what the device does ---- */

/* ids i32 [rows] -> context [rows, width]. */
static swan_status run_encoder(struct swan_session *s, const void *what)
{
    const swan_engine *e = s->engine;
    int64_t rows = *(const int64_t *)what, span = e->umt5.config.heads * (2 * rows - 1);
    bool padded = !swan_engine_on_host(e);
    swan_tensor ids = swan_tensor_1d(s->state.ids.data, SWAN_I32, rows);
    swan_tensor bias_ids = swan_tensor_1d(s->state.bias_ids.data, SWAN_I32, span);
    swan_tensor key_bias = swan_tensor_1d(s->state.key_bias.data, SWAN_F32, rows);
    swan_tensor context = context_rows(s, rows);
    const swan_weight_fetch fetch = swan_session_fetch(s, SWAN_PART_TEXT_LAYERS);
    swan_umt5_input in = {.ids = &ids, .bias_ids = &bias_ids, .fetch = &fetch};
    if (padded) in.key_bias = &key_bias, in.biases = &s->state.biases;
    size_t mark = swan_arena_mark(s->ctx.arena);
    SWAN_TRY(swan_session_reserve_places(s, SWAN_PART_TEXT_LAYERS));
    SWAN_TRY(swan_umt5_forward(&e->umt5, &s->ctx, &in, &context));
    swan_arena_release(s->ctx.arena, mark);
    return SWAN_OK;
}

/* Context -> keys and values of every block, for the prompt slot. */
static swan_status run_keys(struct swan_session *s, const void *what)
{
    swan_wan_text *text = &s->text[*(const int *)what];
    swan_tensor context = context_rows(s, text->rows);
    const swan_weight_fetch fetch = swan_session_fetch(s, SWAN_PART_BLOCK_TEXTS);
    size_t mark = swan_arena_mark(s->ctx.arena);
    SWAN_TRY(swan_session_reserve_places(s, SWAN_PART_BLOCK_TEXTS));
    SWAN_TRY(swan_wan_text_run(&s->engine->dit, &s->ctx, &context, &fetch, text));
    swan_arena_release(s->ctx.arena, mark);
    return SWAN_OK;
}

/* Its graph where there is one, else kernel by kernel. */
static swan_status run_or_replay(struct swan_session *s, const swan_segment *segment, swan_status (*run)(struct swan_session *, const void *),
                                 const void *what)
{
    bool replay = s->segments.captured && segment->graph.cuda && s->ctx.mode == SWAN_RUN;
    return replay ? swan_segments_replay(s, segment) : run(s, what);
}

/* ---- a prompt ---- */

/* What the host knows of a prompt of n tokens; its ids are in the staging memory. */
static swan_status upload(struct swan_session *s, int which, int64_t n)
{
    int64_t rows = encoder_rows(s, n);
    int32_t *id = s->staging.text[which].ids, *where = s->staging.text[which].bias_ids;
    float *key_bias = s->staging.text[which].key_bias, *text_bias = s->staging.text[which].text_bias;
    memset(id + n, 0, (size_t)(rows - n) * sizeof *id);
    swan_tensor ids = swan_tensor_1d(s->state.ids.data, SWAN_I32, rows);
    SWAN_TRY(swan_memory_upload(&s->ctx, &ids, id));
    if (swan_engine_on_host(s->engine)) {
        swan_umt5_bias_ids(&s->engine->umt5.config, rows, where);
        swan_tensor bias_ids = swan_tensor_1d(s->state.bias_ids.data, SWAN_I32, s->engine->umt5.config.heads * (2 * rows - 1));
        SWAN_TRY(swan_memory_upload(&s->ctx, &bias_ids, where));
    } else {
        for (int64_t i = 0; i < rows; i++) key_bias[i] = i < n ? 0 : -INFINITY;
        swan_tensor bias = swan_tensor_1d(s->state.key_bias.data, SWAN_F32, rows);
        SWAN_TRY(swan_memory_upload(&s->ctx, &bias, key_bias));
    }
    swan_wan_text_bias(n, s->text[which].rows, text_bias);
    return swan_memory_upload(&s->ctx, &s->text[which].bias, text_bias);
}

/* Rows n to the last that the transformer sees. */
static swan_status zero_behind(struct swan_session *s, int which, int64_t n)
{
    int64_t rows = s->text[which].rows;
    swan_tensor behind = context_rows(s, rows - n);
    behind.data = (uint8_t *)behind.data + (size_t)(n * behind.ne[1]) * swan_dtype_bytes(behind.dtype);
    return rows > n ? swan_memory_zero(&s->ctx, &behind) : SWAN_OK;
}

swan_status swan_session_encode_tokens(struct swan_session *s, int which, int64_t n)
{
    const swan_text_graphs *g = &s->text_graphs;
    int64_t rows = encoder_rows(s, n);
    SWAN_TRY(swan_session_place_text(s, which, n));
    if (s->ctx.mode != SWAN_DRY) SWAN_TRY(upload(s, which, n));
    SWAN_TRY(run_or_replay(s, &g->encoder[swan_umt5_shape(n)], run_encoder, &rows));
    if (s->ctx.mode != SWAN_DRY) SWAN_TRY(zero_behind(s, which, n));
    return run_or_replay(s, &g->keys[which][swan_wan_text_shape(s->text[which].rows)], run_keys, &which);
}

/* ---- at open ---- */

swan_status swan_text_open(struct swan_session *s)
{
    const swan_engine *e = s->engine;
    if (swan_engine_on_host(e)) return SWAN_OK;
    swan_umt5_bias_ids(&e->umt5.config, SWAN_TEXT_TOKENS, s->staging.text[SWAN_POSITIVE].bias_ids);
    SWAN_TRY(swan_memory_upload(&s->ctx, &s->state.bias_ids, s->staging.text[SWAN_POSITIVE].bias_ids));
    return swan_umt5_biases(&e->umt5, &s->ctx, &s->state.bias_ids, &s->state.biases);
}

swan_status swan_text_capture(struct swan_session *s)
{
    swan_text_graphs *g = &s->text_graphs;
    const int *away = s->engine->away;
    for (int64_t n = 1; n <= SWAN_TEXT_TOKENS && !away[SWAN_PART_TEXT_LAYERS]; n += 32) {
        int64_t rows = swan_umt5_padded(n);
        swan_segment *out = &g->encoder[swan_umt5_shape(n)];
        if (!out->graph.cuda) SWAN_TRY(swan_segments_record(s, run_encoder, &rows, out));
    }
    for (int which = 0; which < (s->guided ? 2 : 1) && !away[SWAN_PART_BLOCK_TEXTS]; which++)
        for (int shape = 0; shape < SWAN_WAN_TEXT_SHAPES; shape++) {
            SWAN_TRY(swan_session_place_text(s, which, swan_wan_text_tokens(shape)));
            SWAN_TRY(swan_segments_record(s, run_keys, &which, &g->keys[which][shape]));
        }
    return SWAN_OK;
}

void swan_text_discard(struct swan_session *s)
{
    const swan_device *d = &s->engine->device;
    swan_text_graphs *g = &s->text_graphs;
    for (int i = 0; i < SWAN_UMT5_SHAPES; i++) d->backend->graph_close(d, &g->encoder[i].graph);
    for (int which = 0; which < SWAN_PROMPTS; which++)
        for (int i = 0; i < SWAN_WAN_TEXT_SHAPES; i++) d->backend->graph_close(d, &g->keys[which][i].graph);
}
