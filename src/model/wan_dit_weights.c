/* The weight table and the config of Wan's transformer: names in three spellings, shapes, roles. */
#include <string.h>

#include "ckpt/config.h"
#include "model/wan_dit.h"

enum { DIM, DIM6, FFN, CIN, COUT4, TEXT, FREQ };

#define MODEL(member) offsetof(swan_wan_dit, member)
#define BLOCK(member) offsetof(swan_wan_block, member)
/* The three spellings of one linear layer's weight and bias. */
#define WEIGHT(at, flags, n, k, diffusers, original, fastvideo)                                                        \
    {{diffusers ".weight", original ".weight", fastvideo ".weight"}, at + offsetof(swan_linear, weight),               \
     SWAN_WEIGHT_MATRIX, flags, 2, {n, k}}
#define BIAS(at, flags, n, diffusers, original, fastvideo)                                                             \
    {{diffusers ".bias", original ".bias", fastvideo ".bias"}, at + offsetof(swan_linear, bias), SWAN_WEIGHT_VECTOR, flags, 1, {n}}
#define LINEAR(at, flags, n, k, diffusers, original, fastvideo)                                                        \
    WEIGHT(at, flags, n, k, diffusers, original, fastvideo), BIAS(at, flags, n, diffusers, original, fastvideo)
#define VECTOR(at, n, diffusers, original, fastvideo)                                                                  \
    {{diffusers, original, fastvideo}, at, SWAN_WEIGHT_VECTOR, 0, 1, {n}}

static const swan_weight_spec model_specs[] = {
    {{"patch_embedding.weight", NULL, "patch_embedding.proj.weight"}, MODEL(patch.weight), SWAN_WEIGHT_MATRIX, 0, 5, {DIM, CIN, -1, -2, -2}},
    {{"patch_embedding.bias", NULL, "patch_embedding.proj.bias"}, MODEL(patch.bias), SWAN_WEIGHT_VECTOR, 0, 1, {DIM}},
    LINEAR(MODEL(time1), 0, DIM, FREQ, "condition_embedder.time_embedder.linear_1", "time_embedding.0", "condition_embedder.time_embedder.mlp.fc_in"),
    LINEAR(MODEL(time2), 0, DIM, DIM, "condition_embedder.time_embedder.linear_2", "time_embedding.2", "condition_embedder.time_embedder.mlp.fc_out"),
    LINEAR(MODEL(time_proj), 0, DIM6, DIM, "condition_embedder.time_proj", "time_projection.1", "condition_embedder.time_modulation.linear"),
    LINEAR(MODEL(text1), 0, DIM, TEXT, "condition_embedder.text_embedder.linear_1", "text_embedding.0", "condition_embedder.text_embedder.fc_in"),
    LINEAR(MODEL(text2), 0, DIM, DIM, "condition_embedder.text_embedder.linear_2", "text_embedding.2", "condition_embedder.text_embedder.fc_out"),
    {{"scale_shift_table", "head.modulation"}, MODEL(head_modulation), SWAN_WEIGHT_VECTOR, 0, 3, {-1, -2, DIM}},
    LINEAR(MODEL(head), 0, COUT4, DIM, "proj_out", "head.head", "proj_out"),
};

#define B "blocks.%d."
/* for a schedule */
static const swan_weight_spec block_time_spec = {
    {B "scale_shift_table", B "modulation"}, BLOCK(modulation), SWAN_WEIGHT_VECTOR, 0, 3, {-1, -6, DIM}};
/* for every step; SWAN_WAN_STEPS */
static const swan_weight_spec block_specs[] = {
    /* in this order they lie behind each other in a GPU's arena: one wide matrix product makes q, k, v and the gate */
    WEIGHT(BLOCK(self.q), 0, DIM, DIM, B "attn1.to_q", B "self_attn.q", B "to_q"),
    WEIGHT(BLOCK(self.k), 0, DIM, DIM, B "attn1.to_k", B "self_attn.k", B "to_k"),
    WEIGHT(BLOCK(self.v), 0, DIM, DIM, B "attn1.to_v", B "self_attn.v", B "to_v"),
    WEIGHT(BLOCK(gate), SWAN_WEIGHT_OPTIONAL, DIM, DIM, B "to_gate_compress", B "self_attn.to_gate_compress", B "attn1.to_gate_compress"),
    BIAS(BLOCK(self.q), 0, DIM, B "attn1.to_q", B "self_attn.q", B "to_q"),
    BIAS(BLOCK(self.k), 0, DIM, B "attn1.to_k", B "self_attn.k", B "to_k"),
    BIAS(BLOCK(self.v), 0, DIM, B "attn1.to_v", B "self_attn.v", B "to_v"),
    BIAS(BLOCK(gate), SWAN_WEIGHT_OPTIONAL, DIM, B "to_gate_compress", B "self_attn.to_gate_compress", B "attn1.to_gate_compress"),
    LINEAR(BLOCK(self.o), 0, DIM, DIM, B "attn1.to_out.0", B "self_attn.o", B "to_out"),
    VECTOR(BLOCK(self.norm_q), DIM, B "attn1.norm_q.weight", B "self_attn.norm_q.weight", B "norm_q.weight"),
    VECTOR(BLOCK(self.norm_k), DIM, B "attn1.norm_k.weight", B "self_attn.norm_k.weight", B "norm_k.weight"),
    VECTOR(BLOCK(norm_weight), DIM, B "norm2.weight", B "norm3.weight", B "self_attn_residual_norm.norm.weight"),
    VECTOR(BLOCK(norm_bias), DIM, B "norm2.bias", B "norm3.bias", B "self_attn_residual_norm.norm.bias"),
    LINEAR(BLOCK(cross.q), 0, DIM, DIM, B "attn2.to_q", B "cross_attn.q", B "attn2.to_q"),
    LINEAR(BLOCK(cross.o), 0, DIM, DIM, B "attn2.to_out.0", B "cross_attn.o", B "attn2.to_out"),
    VECTOR(BLOCK(cross.norm_q), DIM, B "attn2.norm_q.weight", B "cross_attn.norm_q.weight", B "attn2.norm_q.weight"),
    LINEAR(BLOCK(up), 0, FFN, DIM, B "ffn.net.0.proj", B "ffn.0", B "ffn.fc_in"),
    LINEAR(BLOCK(down), 0, DIM, FFN, B "ffn.net.2", B "ffn.2", B "ffn.fc_out"),
};
/* for every prompt; SWAN_WAN_TEXTS */
static const swan_weight_spec block_text_weights[] = {
    WEIGHT(BLOCK(cross.k), 0, DIM, DIM, B "attn2.to_k", B "cross_attn.k", B "attn2.to_k"),
    WEIGHT(BLOCK(cross.v), 0, DIM, DIM, B "attn2.to_v", B "cross_attn.v", B "attn2.to_v"),
};
static const swan_weight_spec block_text_biases[] = {
    BIAS(BLOCK(cross.k), 0, DIM, B "attn2.to_k", B "cross_attn.k", B "attn2.to_k"),
    BIAS(BLOCK(cross.v), 0, DIM, B "attn2.to_v", B "cross_attn.v", B "attn2.to_v"),
};
static const swan_weight_spec block_text_norm =
    VECTOR(BLOCK(cross.norm_k), DIM, B "attn2.norm_k.weight", B "cross_attn.norm_k.weight", B "attn2.norm_k.weight");
#define COUNT(a) (sizeof(a) / sizeof *(a))

/* The rows that tell sizes when there is no config.json. */
enum { ROW_PATCH = 0, ROW_TIME1 = 2, ROW_TEXT1 = 8, ROW_HEAD = 13 };

static const swan_tensor *find(const swan_ckpt *ckpt, const swan_weight_spec *spec)
{
    for (int i = 0; i < SWAN_WEIGHT_SPELLINGS; i++) {
        const swan_tensor *t = spec->name[i] ? swan_ckpt_find(ckpt, spec->name[i]) : NULL;
        if (t) return t;
    }
    return NULL;
}

static swan_status refuse_other_kinds(const char *where, bool image, int64_t in_channels, int64_t out_channels)
{
    if (image || in_channels != out_channels)
        return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: an image-to-video transformer (%lld input channels, %lld output channels); only "
                         "text-to-video is supported", where, (long long)in_channels, (long long)out_channels);
    return SWAN_OK;
}

static swan_status check(const char *where, const swan_wan_config *c)
{
    if (c->head_dim % 2 || c->head_dim < 12)
        return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: attention_head_dim: wanted an even number >= 12, found %lld", where,
                         (long long)c->head_dim);
    if (c->freq_dim % 2)
        return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: freq_dim: wanted an even number, found %lld", where, (long long)c->freq_dim);
    return SWAN_OK;
}

swan_status swan_wan_config_read(const char *path, swan_wan_config *out)
{
    swan_config *c;
    SWAN_TRY(swan_config_open(path, &c));
    int64_t heads = 0, head_dim = 128, in = 16, outc = 16, ffn = 0, layers = 0, text = 4096, freq = 256, patch[3] = {1, 2, 2};
    double eps = 1e-6;
    bool cross_norm = true;
    const char *qk_norm = "rms_norm_across_heads";
    swan_config_list three = {.min = 1, .max = 64, .least = 3, .most = 3};
    swan_status s = swan_config_int(c, "num_attention_heads", 1, 1024, SWAN_REQUIRED, &heads);
    if (!s) s = swan_config_int(c, "attention_head_dim", 1, 1024, SWAN_OPTIONAL, &head_dim);
    if (!s) s = swan_config_int(c, "in_channels", 1, 1024, SWAN_OPTIONAL, &in);
    if (!s) s = swan_config_int(c, "out_channels", 1, 1024, SWAN_OPTIONAL, &outc);
    if (!s) s = swan_config_int(c, "ffn_dim", 1, 1 << 20, SWAN_REQUIRED, &ffn);
    if (!s) s = swan_config_int(c, "num_layers", 1, SWAN_WAN_MAX_LAYERS, SWAN_REQUIRED, &layers);
    if (!s) s = swan_config_int(c, "text_dim", 1, 1 << 20, SWAN_OPTIONAL, &text);
    if (!s) s = swan_config_int(c, "freq_dim", 2, 1 << 16, SWAN_OPTIONAL, &freq);
    if (!s) s = swan_config_number(c, "eps", 0, 1, SWAN_OPTIONAL, &eps);
    if (!s) s = swan_config_bool(c, "cross_attn_norm", SWAN_OPTIONAL, &cross_norm);
    if (!s) s = swan_config_string(c, "qk_norm", SWAN_OPTIONAL, &qk_norm);
    if (!s) s = swan_config_ints(c, "patch_size", &three, SWAN_OPTIONAL, patch, NULL);
    if (!s) s = refuse_other_kinds(path, swan_config_has(c, "image_dim") || swan_config_has(c, "added_kv_proj_dim"), in, outc);
    if (!s && (patch[0] != 1 || patch[1] != 2 || patch[2] != 2))
        s = SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: patch_size: wanted [1, 2, 2], found [%lld, %lld, %lld]", path, (long long)patch[0],
                      (long long)patch[1], (long long)patch[2]);
    if (!s && (strcmp(qk_norm, "rms_norm_across_heads") != 0 || !cross_norm))
        s = SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: wanted qk_norm \"rms_norm_across_heads\" and cross_attn_norm true, found \"%s\" and %s",
                      path, qk_norm, cross_norm ? "true" : "false");
    swan_config_close(c);
    if (s) return s;
    *out = (swan_wan_config){.dim = heads * head_dim, .heads = heads, .head_dim = head_dim, .ffn = ffn, .in_channels = in,
                             .out_channels = outc, .text_dim = text, .freq_dim = freq, .layers = (int)layers, .eps = (float)eps};
    return check(path, out);
}

swan_status swan_wan_config_from_weights(const swan_ckpt *ckpt, swan_wan_config *out)
{
    const char *where = swan_ckpt_path(ckpt);
    const swan_tensor *patch = find(ckpt, &model_specs[ROW_PATCH]), *time1 = find(ckpt, &model_specs[ROW_TIME1]);
    const swan_tensor *text1 = find(ckpt, &model_specs[ROW_TEXT1]), *head = find(ckpt, &model_specs[ROW_HEAD]);
    if (!patch || !time1 || !text1 || !head || patch->ndim != 5 || time1->ndim != 2 || text1->ndim != 2 || head->ndim != 2)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: no Wan transformer: patch_embedding, time, text and output layers were not found", where);
    int layers = 0;
    const swan_weight_spec *first = &block_specs[0], *up = &block_specs[COUNT(block_specs) - 4];
    while (layers < SWAN_WAN_MAX_LAYERS && swan_weights_has(ckpt, first, layers)) layers++;
    int64_t ffn = 0;
    for (size_t i = 0; i < swan_ckpt_count(ckpt) && !ffn; i++) {
        const swan_tensor *t = swan_ckpt_at(ckpt, i);
        for (int k = 0; k < SWAN_WEIGHT_SPELLINGS; k++) {
            const char *tail = strchr(up->name[k] + strlen(B), 'f'); /* "ffn…weight" of layer 0 */
            if (!strncmp(t->name, "blocks.0.", 9) && tail && !strcmp(t->name + 9, tail)) ffn = t->ne[0];
        }
    }
    int64_t dim = patch->ne[0];
    if (!layers || !ffn || dim % 128)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: no Wan transformer: %d blocks, width %lld (wanted a multiple of 128)", where, layers,
                         (long long)dim);
    SWAN_TRY(refuse_other_kinds(where, swan_ckpt_find(ckpt, "img_emb.proj.1.weight") != NULL, patch->ne[1], head->ne[0] / 4));
    *out = (swan_wan_config){.dim = dim, .heads = dim / 128, .head_dim = 128, .ffn = ffn, .in_channels = patch->ne[1],
                             .out_channels = head->ne[0] / 4, .text_dim = text1->ne[1], .freq_dim = time1->ne[1],
                             .layers = layers, .eps = 1e-6f};
    return check(where, out);
}

static swan_status load_block(swan_wan_dit *m, int i, swan_weight_loader *loader)
{
    swan_wan_block *w = &m->block[i];
    SWAN_TRY(swan_weights_bind(loader, &block_time_spec, 1, i, w));
    swan_weights_send(loader, SWAN_WAN_STEPS, i, m->config.layers);
    SWAN_TRY(swan_weights_bind(loader, block_specs, COUNT(block_specs), i, w));
    loader->to_host = false;
    return SWAN_OK;
}

/* What sees the text: of each group all weights lie behind each other, and all biases, so that one product makes its blocks' keys and
 * values, wherever it is. */
static swan_status load_texts(swan_wan_dit *m, swan_weight_loader *loader)
{
    int layers = m->config.layers, group = swan_wan_text_group(m);
    for (int first = 0; first < layers; first += group) {
        swan_weights_send(loader, SWAN_WAN_TEXTS, first / group, layers / group);
        for (int i = first; i < first + group; i++)
            SWAN_TRY(swan_weights_bind(loader, block_text_weights, COUNT(block_text_weights), i, &m->block[i]));
        for (int i = first; i < first + group; i++)
            SWAN_TRY(swan_weights_bind(loader, block_text_biases, COUNT(block_text_biases), i, &m->block[i]));
        for (int i = first; i < first + group; i++) SWAN_TRY(swan_weights_bind(loader, &block_text_norm, 1, i, &m->block[i]));
    }
    loader->to_host = false;
    return SWAN_OK;
}

swan_weight_span swan_wan_span(const swan_wan_dit *m, int part, int i)
{
    /* the first and the last rows of the tables above */
    if (part == SWAN_WAN_STEPS) return swan_weights_span(&m->block[i].self.q.weight, &m->block[i].down.bias);
    int group = swan_wan_text_group(m);
    return swan_weights_span(&m->block[i * group].cross.k.weight, &m->block[i * group + group - 1].cross.norm_k);
}

swan_status swan_wan_dit_load(swan_wan_dit *m, const swan_wan_config *config, swan_weight_loader *loader)
{
    *m = (swan_wan_dit){.config = *config};
    int64_t values[] = {[DIM] = config->dim, [DIM6] = 6 * config->dim, [FFN] = config->ffn, [CIN] = config->in_channels,
                        [COUT4] = 4 * config->out_channels, [TEXT] = config->text_dim, [FREQ] = config->freq_dim};
    loader->values = values;
    swan_status s = swan_weights_bind(loader, model_specs, COUNT(model_specs), -1, m);
    int gates = 0;
    for (int i = 0; !s && i < config->layers; i++) {
        s = load_block(m, i, loader);
        gates += m->block[i].gate.weight.data != NULL;
    }
    if (!s) s = load_texts(m, loader);
    loader->values = NULL;
    if (s) return s;
    if (gates && gates != config->layers)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: to_gate_compress: wanted in all %d blocks or none, found in %d",
                         swan_ckpt_path(loader->ckpt), config->layers, gates);
    m->config.gates = gates > 0;
    return loader->used ? swan_weights_all_used(loader, NULL, "a Wan text-to-video transformer") : SWAN_OK;
}
