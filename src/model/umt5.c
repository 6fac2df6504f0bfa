#include "model/umt5.h"

#include <math.h>
#include <string.h>

#include "ckpt/config.h"

/* ---- weights ---- */

enum { VOCAB, WIDTH, INNER, HEADS, FFN, BUCKETS };

#define AT(member) offsetof(swan_umt5_layer, member)
static const swan_weight_spec layer_specs[] = {
    {{"encoder.block.%d.layer.0.layer_norm.weight", "blocks.%d.norm1.weight"}, AT(norm1), SWAN_WEIGHT_VECTOR, 0, 1, {WIDTH}},
    {{"encoder.block.%d.layer.0.SelfAttention.q.weight", "blocks.%d.attn.q.weight"}, AT(q.weight), SWAN_WEIGHT_MATRIX, 0, 2, {INNER, WIDTH}},
    {{"encoder.block.%d.layer.0.SelfAttention.k.weight", "blocks.%d.attn.k.weight"}, AT(k.weight), SWAN_WEIGHT_MATRIX, 0, 2, {INNER, WIDTH}},
    {{"encoder.block.%d.layer.0.SelfAttention.v.weight", "blocks.%d.attn.v.weight"}, AT(v.weight), SWAN_WEIGHT_MATRIX, 0, 2, {INNER, WIDTH}},
    {{"encoder.block.%d.layer.0.SelfAttention.o.weight", "blocks.%d.attn.o.weight"}, AT(o.weight), SWAN_WEIGHT_MATRIX, 0, 2, {WIDTH, INNER}},
    {{"encoder.block.%d.layer.0.SelfAttention.relative_attention_bias.weight", "blocks.%d.pos_embedding.embedding.weight"},
     AT(rel_bias), SWAN_WEIGHT_TRANSPOSED, 0, 2, {BUCKETS, HEADS}},
    {{"encoder.block.%d.layer.1.layer_norm.weight", "blocks.%d.norm2.weight"}, AT(norm2), SWAN_WEIGHT_VECTOR, 0, 1, {WIDTH}},
    {{"encoder.block.%d.layer.1.DenseReluDense.wi_0.weight", "blocks.%d.ffn.gate.0.weight"}, AT(gate.weight), SWAN_WEIGHT_MATRIX, 0, 2, {FFN, WIDTH}},
    {{"encoder.block.%d.layer.1.DenseReluDense.wi_1.weight", "blocks.%d.ffn.fc1.weight"}, AT(up.weight), SWAN_WEIGHT_MATRIX, 0, 2, {FFN, WIDTH}},
    {{"encoder.block.%d.layer.1.DenseReluDense.wo.weight", "blocks.%d.ffn.fc2.weight"}, AT(down.weight), SWAN_WEIGHT_MATRIX, 0, 2, {WIDTH, FFN}},
};
#undef AT
static const swan_weight_spec table_spec = {
    {"shared.weight", "token_embedding.weight", "encoder.embed_tokens.weight"}, offsetof(swan_umt5, embedding), SWAN_WEIGHT_MATRIX, 0, 2, {VOCAB, WIDTH}};
static const swan_weight_spec norm_spec = {
    {"encoder.final_layer_norm.weight", "norm.weight"}, offsetof(swan_umt5, final_norm), SWAN_WEIGHT_VECTOR, 0, 1, {WIDTH}};
/* aliases of the shared table, and the decoder of a full encoder-decoder checkpoint */
static const char *const ignored[] = {"shared.weight", "encoder.embed_tokens.weight", "decoder.", "lm_head.", NULL};

swan_status swan_umt5_config_read(const char *path, swan_umt5_config *out)
{
    swan_config *c;
    SWAN_TRY(swan_config_open(path, &c));
    int64_t vocab = 0, width = 0, heads = 0, head_dim = 0, ffn = 0, layers = 0, buckets = 32, distance = 128;
    double eps = 1e-6;
    const char *act = NULL;
    swan_status s = swan_config_int(c, "vocab_size", 1, INT32_MAX, SWAN_REQUIRED, &vocab);
    if (!s) s = swan_config_int(c, "d_model", 1, 1 << 20, SWAN_REQUIRED, &width);
    if (!s) s = swan_config_int(c, "num_heads", 1, 4096, SWAN_REQUIRED, &heads);
    if (!s) s = swan_config_int(c, "d_kv", 1, 4096, SWAN_REQUIRED, &head_dim);
    if (!s) s = swan_config_int(c, "d_ff", 1, 1 << 24, SWAN_REQUIRED, &ffn);
    if (!s) s = swan_config_int(c, "num_layers", 1, SWAN_UMT5_MAX_LAYERS, SWAN_REQUIRED, &layers);
    if (!s) s = swan_config_int(c, "relative_attention_num_buckets", 4, 4096, SWAN_OPTIONAL, &buckets);
    if (!s) s = swan_config_int(c, "relative_attention_max_distance", 2, 1 << 20, SWAN_OPTIONAL, &distance);
    if (!s) s = swan_config_number(c, "layer_norm_epsilon", 0, 1, SWAN_OPTIONAL, &eps);
    if (!s) s = swan_config_string(c, "feed_forward_proj", SWAN_OPTIONAL, &act);
    if (!s && act && strcmp(act, "gated-gelu") != 0)
        s = SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: feed_forward_proj: wanted \"gated-gelu\", found \"%s\"", path, act);
    swan_config_close(c);
    if (s) return s;
    *out = (swan_umt5_config){.vocab = vocab, .width = width, .heads = heads, .head_dim = head_dim, .ffn = ffn,
                              .buckets = buckets, .layers = (int)layers, .max_distance = (int)distance, .eps = (float)eps};
    return SWAN_OK;
}

swan_status swan_umt5_load(swan_umt5 *m, const swan_umt5_config *config, swan_weight_loader *loader)
{
    *m = (swan_umt5){.config = *config};
    int64_t values[] = {[VOCAB] = config->vocab, [WIDTH] = config->width, [INNER] = config->heads * config->head_dim,
                        [HEADS] = config->heads, [FFN] = config->ffn, [BUCKETS] = config->buckets};
    loader->values = values;
    swan_weights_send(loader, SWAN_UMT5_TABLE, 0, 1);
    swan_status s = swan_weights_bind(loader, &table_spec, 1, -1, m);
    loader->to_host = false;
    if (!s) s = swan_weights_bind(loader, &norm_spec, 1, -1, m);
    for (int i = 0; !s && i < config->layers; i++) {
        swan_weights_send(loader, SWAN_UMT5_LAYERS, i, config->layers);
        s = swan_weights_bind(loader, layer_specs, sizeof layer_specs / sizeof *layer_specs, i, &m->layer[i]);
    }
    loader->to_host = false;
    loader->values = NULL;
    if (s) return s;
    return loader->used ? swan_weights_all_used(loader, ignored, "a UMT5 text encoder") : SWAN_OK;
}

swan_weight_span swan_umt5_span(const swan_umt5 *m, int i)
{
    /* of the table's rows for a layer, the first and the last */
    return swan_weights_span(&m->layer[i].norm1, &m->layer[i].down.weight);
}

/* ---- relative positions ---- */

int swan_umt5_bucket(int distance, int buckets, int max_distance)
{
    int half = buckets / 2, exact = half / 2;
    int base = distance > 0 ? half : 0, n = distance < 0 ? -distance : distance;
    if (n < exact) return base + n;
    /* fp32 as in the reference: its truncation decides the borders */
    float scaled = logf((float)n / (float)exact) / (float)log((double)max_distance / exact) * (float)(half - exact);
    int far = exact + (int)scaled;
    return base + (far < half - 1 ? far : half - 1);
}

void swan_umt5_bias_ids(const swan_umt5_config *config, int64_t n, int32_t *ids)
{
    for (int64_t d = 0; d < 2 * n - 1; d++) {
        int bucket = swan_umt5_bucket((int)(d - (n - 1)), (int)config->buckets, config->max_distance);
        for (int64_t h = 0; h < config->heads; h++) ids[h * (2 * n - 1) + d] = (int32_t)(h * config->buckets + bucket);
    }
}

/* One layer's into out f32 [heads, any]. */
static swan_status gather_bias(const swan_umt5_config *c, swan_ctx *ctx, const swan_tensor *rel_bias, const swan_tensor *ids,
                               const swan_tensor *out)
{
    swan_tensor table = swan_tensor_2d(rel_bias->data, SWAN_F32, c->heads * c->buckets, 1);
    swan_tensor flat = swan_tensor_2d(out->data, SWAN_F32, swan_tensor_count(out), 1);
    return swan_op_embed_rows(ctx, &table, ids, &flat);
}

/* Layer i of biases. */
static swan_tensor bias_of_layer(const swan_tensor *biases, int i)
{
    int64_t heads = biases->ne[1], span = biases->ne[2];
    return swan_tensor_2d((float *)biases->data + i * heads * span, SWAN_F32, heads, span);
}

swan_status swan_umt5_biases(const swan_umt5 *m, swan_ctx *ctx, const swan_tensor *bias_ids, swan_tensor *biases)
{
    for (int i = 0; i < m->config.layers; i++) {
        swan_tensor out = bias_of_layer(biases, i);
        SWAN_TRY(gather_bias(&m->config, ctx, &m->layer[i].rel_bias, bias_ids, &out));
    }
    return SWAN_OK;
}

/* ---- forward ---- */

/* q, k and v of h [n, width] in the memory of qkv [n, 3 * inner]: each by itself, or on a GPU, where their weights lie behind each
 * other, as its columns. */
static swan_status project(swan_ctx *ctx, const swan_umt5_layer *w, const swan_tensor *h, swan_tensor *qkv, swan_qkv *out)
{
    const swan_linear *const layer[] = {&w->q, &w->k, &w->v};
    swan_tensor *const part[] = {&out->q, &out->k, &out->v};
    int64_t n = qkv->ne[0], inner = qkv->ne[1] / 3;
    swan_linear one;
    bool joined = !swan_ctx_on_host(ctx) && swan_linear_join(layer, 3, &one);
    *out = (swan_qkv){.ld = joined ? 3 * inner : inner};
    for (int i = 0; i < 3; i++) {
        size_t at = (size_t)(i * (joined ? inner : n * inner)) * swan_dtype_bytes(qkv->dtype);
        *part[i] = swan_tensor_2d((uint8_t *)qkv->data + at, qkv->dtype, n, inner);
        if (!joined) SWAN_TRY(swan_op_linear(ctx, h, layer[i], SWAN_EPI_NONE, NULL, part[i]));
    }
    return joined ? swan_op_linear(ctx, h, &one, SWAN_EPI_NONE, NULL, qkv) : SWAN_OK;
}

/* The bias of layer i for n tokens, as attention reads it: how->rel_bias is set to *bias. */
static swan_status place_bias(const swan_umt5_config *c, const swan_umt5_layer *w, int i, swan_ctx *ctx, const swan_umt5_input *given,
                              swan_attention *how, swan_tensor *bias)
{
    int64_t span = 2 * given->ids->ne[0] - 1;
    how->rel_bias = bias;
    if (given->biases) {
        *bias = bias_of_layer(given->biases, i);
        how->ld_rel = bias->ne[1];
        bias->data = (float *)bias->data + (bias->ne[1] - span) / 2;
        bias->ne[1] = span;
        return SWAN_OK;
    }
    SWAN_TRY(swan_ctx_tensor(ctx, SWAN_F32, 2, (int64_t[]){c->heads, span}, "umt5.bias", bias));
    return gather_bias(c, ctx, &w->rel_bias, given->bias_ids, bias);
}

static swan_status attention(const swan_umt5_config *c, const swan_umt5_layer *w, int i, swan_ctx *ctx,
                             const swan_umt5_input *given, swan_tensor *x)
{
    int64_t n = x->ne[0], inner = c->heads * c->head_dim;
    size_t mark = swan_arena_mark(ctx->arena);
    swan_tensor h, out, bias, qkv;
    swan_qkv in;
    swan_attention how = {.heads = c->heads, .scale = 1, .key_bias = given->key_bias}; /* T5 does not divide by sqrt(d) */
    SWAN_TRY(swan_ctx_tensor_2d(ctx, n, c->width, "umt5.h", &h));
    SWAN_TRY(swan_ctx_tensor_2d(ctx, n, 3 * inner, "umt5.qkv", &qkv));
    SWAN_TRY(swan_ctx_tensor_2d(ctx, n, inner, "umt5.attention", &out));
    SWAN_TRY(place_bias(c, w, i, ctx, given, &how, &bias));
    SWAN_TRY(swan_op_rms_norm(ctx, x, &w->norm1, c->eps, NULL, &h));
    SWAN_TRY(project(ctx, w, &h, &qkv, &in));
    SWAN_TRY(swan_op_attention(ctx, &how, &in, &out));
    SWAN_TRY(swan_op_linear(ctx, &out, &w->o, SWAN_EPI_ADD, NULL, x));
    swan_arena_release(ctx->arena, mark);
    return SWAN_OK;
}

static swan_status feed_forward(const swan_umt5_config *c, const swan_umt5_layer *w, swan_ctx *ctx, swan_tensor *x)
{
    size_t mark = swan_arena_mark(ctx->arena);
    swan_tensor h, f;
    SWAN_TRY(swan_ctx_tensor_2d(ctx, x->ne[0], c->width, "umt5.h", &h));
    SWAN_TRY(swan_ctx_tensor_2d(ctx, x->ne[0], c->ffn, "umt5.f", &f));
    SWAN_TRY(swan_op_rms_norm(ctx, x, &w->norm2, c->eps, NULL, &h));
    SWAN_TRY(swan_op_linear_gelu_mul(ctx, &h, &w->gate, &w->up, &f));
    SWAN_TRY(swan_op_linear(ctx, &f, &w->down, SWAN_EPI_ADD, NULL, x));
    swan_arena_release(ctx->arena, mark);
    return SWAN_OK;
}

static void shift_weights(swan_umt5_layer *w, ptrdiff_t shift)
{
    swan_tensor *const all[] = {&w->norm1, &w->norm2, &w->q.weight, &w->k.weight, &w->v.weight, &w->o.weight,
                                &w->rel_bias, &w->gate.weight, &w->up.weight, &w->down.weight};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) swan_weights_shift(all[i], shift);
}

int swan_umt5_shape(int64_t n) { return n <= 128 ? (int)((n - 1) / 32) : n <= 256 ? 4 : 5; }

int64_t swan_umt5_padded(int64_t n)
{
    static const int64_t rows[SWAN_UMT5_SHAPES] = {32, 64, 96, 128, 256, 512};
    return rows[swan_umt5_shape(n)];
}

swan_status swan_umt5_forward(const swan_umt5 *m, swan_ctx *ctx, const swan_umt5_input *in, swan_tensor *context)
{
    size_t mark = swan_arena_mark(ctx->arena);
    swan_tensor x; /* the residual stream */
    SWAN_TRY(swan_ctx_tensor_2d(ctx, in->ids->ne[0], m->config.width, "umt5.x", &x));
    SWAN_TRY(swan_op_embed_rows(ctx, &m->embedding, in->ids, &x));
    for (int i = 0; i < m->config.layers; i++) {
        swan_umt5_layer layer = m->layer[i];
        ptrdiff_t shift = 0;
        if (in->fetch && ctx->mode != SWAN_DRY) SWAN_TRY(in->fetch->take(in->fetch->user, i, &shift));
        shift_weights(&layer, shift);
        SWAN_TRY(attention(&m->config, &layer, i, ctx, in, &x));
        SWAN_TRY(feed_forward(&m->config, &layer, ctx, &x));
    }
    SWAN_TRY(swan_op_rms_norm(ctx, &x, &m->final_norm, m->config.eps, NULL, context));
    swan_arena_release(ctx->arena, mark);
    return SWAN_OK;
}
