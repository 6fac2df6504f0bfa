#include "pipe/synthetic.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckpt/random.h"

/* ---- what is published ---- */

#define XXL {.vocab = 256384, .width = 4096, .heads = 64, .head_dim = 64, .ffn = 10240, .buckets = 32, .layers = 24, .max_distance = 128, .eps = 1e-6f}
#define WAN(heads_, ffn_, layers_)                                                                                     \
    {.dim = 128 * (heads_), .heads = heads_, .head_dim = 128, .ffn = ffn_, .in_channels = 16, .out_channels = 16,      \
     .text_dim = 4096, .freq_dim = 256, .layers = layers_, .eps = 1e-6f}

typedef struct configuration {
    const char *name;
    swan_umt5_config text;
    swan_wan_config dit;
    bool gates;
    int64_t taehv[4]; /* widths of the stages */
} configuration;

static const configuration configurations[] = {
    {"wan2.1-1.3b", XXL, WAN(12, 8960, 30), false, {256, 128, 64, 64}},
    {"fastwan2.1-1.3b", XXL, WAN(12, 8960, 30), true, {256, 128, 64, 64}},
    {"fastwan-qad-1.3b", XXL, WAN(12, 8960, 30), false, {256, 128, 64, 64}},
    {"wan2.1-14b", XXL, WAN(40, 13824, 40), false, {256, 128, 64, 64}},
    {"fastwan2.1-14b", XXL, WAN(40, 13824, 40), true, {256, 128, 64, 64}},
    /* for tests: every shape of the large ones, small */
    {"tiny",
     {.vocab = 512, .width = 64, .heads = 2, .head_dim = 32, .ffn = 128, .buckets = 32, .layers = 2, .max_distance = 128, .eps = 1e-6f},
     {.dim = 256, .heads = 2, .head_dim = 128, .ffn = 512, .in_channels = 16, .out_channels = 16, .text_dim = 64, .freq_dim = 256, .layers = 2, .eps = 1e-6f},
     false, {32, 32, 16, 16}},
    {"fasttiny",
     {.vocab = 512, .width = 64, .heads = 2, .head_dim = 32, .ffn = 128, .buckets = 32, .layers = 2, .max_distance = 128, .eps = 1e-6f},
     {.dim = 256, .heads = 2, .head_dim = 128, .ffn = 512, .in_channels = 16, .out_channels = 16, .text_dim = 64, .freq_dim = 256, .layers = 2, .eps = 1e-6f},
     true, {32, 32, 16, 16}},
    {"deeptiny", /* enough layers for some to be away */
     {.vocab = 512, .width = 64, .heads = 2, .head_dim = 32, .ffn = 256, .buckets = 32, .layers = 7, .max_distance = 128, .eps = 1e-6f},
     {.dim = 256, .heads = 2, .head_dim = 128, .ffn = 1024, .in_channels = 16, .out_channels = 16, .text_dim = 64, .freq_dim = 256, .layers = 9, .eps = 1e-6f},
     true, {32, 32, 16, 16}},
};
#define COUNT (sizeof configurations / sizeof configurations[0])

static swan_status find(const char *name, const configuration **out)
{
    char known[256] = "";
    for (size_t i = 0; i < COUNT; i++) {
        *out = &configurations[i];
        if (name && !strcmp(name, configurations[i].name)) return SWAN_OK;
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", configurations[i].name);
    }
    return SWAN_FAIL(SWAN_E_NOT_FOUND, "model: random weights are made for %s; found \"%s\"", known, name ? name : "");
}

/* ---- the tensors, by the names that published files have ---- */

#define MOST_TENSORS 2048

typedef struct list {
    swan_random_spec *spec;
    size_t count;
} list;

static void add(list *l, swan_random_kind kind, int ndim, const int64_t *ne, const char *format, ...) __attribute__((format(printf, 5, 6)));
static void add(list *l, swan_random_kind kind, int ndim, const int64_t *ne, const char *format, ...)
{
    swan_random_spec *s = &l->spec[l->count++];
    *s = (swan_random_spec){.kind = kind, .ndim = ndim};
    memcpy(s->ne, ne, (size_t)ndim * sizeof *ne);
    va_list args;
    va_start(args, format);
    vsnprintf(s->name, sizeof s->name, format, args);
    va_end(args);
}
#define NE(...) (const int64_t[]){__VA_ARGS__}

static void umt5_tensors(const configuration *c, list *l)
{
    const swan_umt5_config *t = &c->text;
    int64_t inner = t->heads * t->head_dim;
    add(l, SWAN_RANDOM_MATRIX, 2, NE(t->vocab, t->width), "shared.weight");
    add(l, SWAN_RANDOM_ONES, 1, NE(t->width), "encoder.final_layer_norm.weight");
    for (int i = 0; i < t->layers; i++) {
        static const char *const rows[] = {"q", "k", "v"}, *const ffn[] = {"wi_0", "wi_1"};
        for (int k = 0; k < 3; k++) add(l, SWAN_RANDOM_MATRIX, 2, NE(inner, t->width), "encoder.block.%d.layer.0.SelfAttention.%s.weight", i, rows[k]);
        add(l, SWAN_RANDOM_MATRIX, 2, NE(t->width, inner), "encoder.block.%d.layer.0.SelfAttention.o.weight", i);
        add(l, SWAN_RANDOM_SMALL, 2, NE(t->buckets, t->heads), "encoder.block.%d.layer.0.SelfAttention.relative_attention_bias.weight", i);
        for (int k = 0; k < 2; k++) add(l, SWAN_RANDOM_ONES, 1, NE(t->width), "encoder.block.%d.layer.%d.layer_norm.weight", i, k);
        for (int k = 0; k < 2; k++) add(l, SWAN_RANDOM_MATRIX, 2, NE(t->ffn, t->width), "encoder.block.%d.layer.1.DenseReluDense.%s.weight", i, ffn[k]);
        add(l, SWAN_RANDOM_MATRIX, 2, NE(t->width, t->ffn), "encoder.block.%d.layer.1.DenseReluDense.wo.weight", i);
    }
}

static void linear(list *l, int64_t n, int64_t k, const char *name)
{
    add(l, SWAN_RANDOM_MATRIX, 2, NE(n, k), "%s.weight", name);
    add(l, SWAN_RANDOM_SMALL, 1, NE(n), "%s.bias", name);
}

static void block_tensors(const configuration *c, int i, list *l)
{
    const swan_wan_config *d = &c->dit;
    char name[64];
    add(l, SWAN_RANDOM_SMALL, 3, NE(1, 6, d->dim), "blocks.%d.scale_shift_table", i);
    for (int a = 1; a <= 2; a++) {
        static const char *const parts[] = {"to_q", "to_k", "to_v", "to_out.0"}, *const norms[] = {"norm_q", "norm_k"};
        for (int k = 0; k < 4; k++) {
            snprintf(name, sizeof name, "blocks.%d.attn%d.%s", i, a, parts[k]);
            linear(l, d->dim, d->dim, name);
        }
        for (int k = 0; k < 2; k++) add(l, SWAN_RANDOM_ONES, 1, NE(d->dim), "blocks.%d.attn%d.%s.weight", i, a, norms[k]);
    }
    add(l, SWAN_RANDOM_ONES, 1, NE(d->dim), "blocks.%d.norm2.weight", i);
    add(l, SWAN_RANDOM_SMALL, 1, NE(d->dim), "blocks.%d.norm2.bias", i);
    snprintf(name, sizeof name, "blocks.%d.ffn.net.0.proj", i);
    linear(l, d->ffn, d->dim, name);
    snprintf(name, sizeof name, "blocks.%d.ffn.net.2", i);
    linear(l, d->dim, d->ffn, name);
    if (!c->gates) return;
    snprintf(name, sizeof name, "blocks.%d.to_gate_compress", i);
    linear(l, d->dim, d->dim, name);
}

static void dit_tensors(const configuration *c, list *l)
{
    const swan_wan_config *d = &c->dit;
    add(l, SWAN_RANDOM_MATRIX, 5, NE(d->dim, d->in_channels, 1, 2, 2), "patch_embedding.weight");
    add(l, SWAN_RANDOM_SMALL, 1, NE(d->dim), "patch_embedding.bias");
    linear(l, d->dim, d->freq_dim, "condition_embedder.time_embedder.linear_1");
    linear(l, d->dim, d->dim, "condition_embedder.time_embedder.linear_2");
    linear(l, 6 * d->dim, d->dim, "condition_embedder.time_proj");
    linear(l, d->dim, d->text_dim, "condition_embedder.text_embedder.linear_1");
    linear(l, d->dim, d->dim, "condition_embedder.text_embedder.linear_2");
    add(l, SWAN_RANDOM_SMALL, 3, NE(1, 2, d->dim), "scale_shift_table");
    linear(l, 4 * d->out_channels, d->dim, "proj_out");
    for (int i = 0; i < d->layers; i++) block_tensors(c, i, l);
}

/* Keeps what a convolution makes as large as what it sees. */
static void conv(list *l, int64_t out, int64_t in, const char *name)
{
    int64_t fan_in = 9 * in;
    swan_random_kind kind = fan_in >= 1152 ? SWAN_RANDOM_CONV : fan_in >= 288 ? SWAN_RANDOM_CONV_MID : SWAN_RANDOM_CONV_FEW;
    add(l, kind, 4, NE(out, in, 3, 3), "%s.weight", name);
}

/* Colours around grey: a few levels of grain at the published widths, more at small ones. */
static void taehv_tensors(const configuration *c, list *l)
{
    const int64_t *w = c->taehv;
    char name[64];
    conv(l, w[0], c->dit.out_channels, "decoder.1");
    add(l, SWAN_RANDOM_SMALL, 1, NE(w[0]), "decoder.1.bias");
    for (int s = 0; s < SWAN_TAEHV_STAGES; s++) {
        int at = 3 + 6 * s; /* of the stage's first block in the reference's sequence */
        for (int b = 0; b < 3 * SWAN_TAEHV_BLOCKS; b++) {
            snprintf(name, sizeof name, "decoder.%d.conv.%d", at + b / 3, b % 3 * 2);
            conv(l, w[s], b % 3 ? w[s] : 2 * w[s], name);
            add(l, SWAN_RANDOM_SMALL, 1, NE(w[s]), "%s.bias", name);
        }
        add(l, w[s] < 64 ? SWAN_RANDOM_CONV_FEW : SWAN_RANDOM_CONV, 4, NE((s ? 2 : 1) * w[s], w[s], 1, 1), "decoder.%d.conv.weight", at + 4);
        snprintf(name, sizeof name, "decoder.%d", at + 5);
        conv(l, w[s + 1], w[s], name);
    }
    add(l, w[3] < 64 ? SWAN_RANDOM_CONV_FEW : SWAN_RANDOM_CONV_LAST, 4, NE(3, w[3], 3, 3), "decoder.22.weight");
    add(l, SWAN_RANDOM_GREY, 1, NE(3), "decoder.22.bias");
}

/* ---- opening ---- */

static swan_status open_part(const configuration *c, const char *part, void (*tensors)(const configuration *, list *), uint64_t seed,
                             swan_component *out)
{
    char label[96];
    snprintf(label, sizeof label, "%s (random weights), %s", c->name, part);
    list l = {.spec = malloc(MOST_TENSORS * sizeof *l.spec)};
    if (!l.spec) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", label);
    tensors(c, &l);
    swan_status status = swan_ckpt_random(label, l.spec, l.count, seed, &out->ckpt);
    free(l.spec);
    return status;
}

swan_status swan_synthetic_open(swan_engine *e)
{
    const configuration *c;
    SWAN_TRY(find(e->params->model, &c));
    snprintf(e->directory, sizeof e->directory, "%s (random weights)", c->name);
    snprintf(e->name, sizeof e->name, "%s", c->name);
    snprintf(e->class_name, sizeof e->class_name, "%s", "WanDMDPipeline");
    snprintf(e->default_prompt, sizeof e->default_prompt, "%s", "words that nobody reads");
    e->synthetic = true;
    e->umt5.config = c->text;
    e->dit.config = c->dit;
    SWAN_TRY(open_part(c, "text encoder", umt5_tensors, 1, &e->text_part));
    SWAN_TRY(open_part(c, "transformer", dit_tensors, 2, &e->dit_part));
    SWAN_TRY(open_part(c, "TAEHV", taehv_tensors, 3, &e->taehv_part));
    snprintf(e->taehv_path, sizeof e->taehv_path, "%s", swan_ckpt_path(e->taehv_part.ckpt));
    /* three steps without guidance, sparse where there are gates: what the distilled models do, and what is measured */
    swan_recipe_facts facts = {.class_name = e->class_name, .gates = c->gates, .width = c->dit.dim};
    SWAN_TRY(swan_recipe_choose(&facts, &e->recipe));
    snprintf(e->recipe.rule, sizeof e->recipe.rule, "random weights: three steps, no guidance");
    return SWAN_OK;
}

void swan_synthetic_tokenize(int64_t vocab, const char *text, int32_t *ids, int max_ids, int *count)
{
    int n = 0;
    for (const char *at = text + strspn(text, " \t\r\n"); *at && n + 1 < max_ids; at += strspn(at, " \t\r\n")) {
        uint32_t hash = 0x811C9DC5u;
        size_t length = strcspn(at, " \t\r\n");
        for (size_t i = 0; i < length; i++) hash = (hash ^ (uint8_t)at[i]) * 0x01000193u;
        ids[n++] = (int32_t)(2 + hash % (uint64_t)(vocab - 2));
        at += length;
    }
    ids[n++] = 1;
    *count = n;
}
