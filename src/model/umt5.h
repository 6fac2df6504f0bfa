/* UMT5 text encoder: token ids -> context. Only real tokens go in: padding would be masked and contributes nothing.
 * Source: Hugging Face UMT5EncoderModel (T5 v1.1 blocks, gated GELU, one relative-position table per layer, no biases). */
#ifndef SWAN_MODEL_UMT5_H
#define SWAN_MODEL_UMT5_H

#include "model/weights.h"
#include "ops/ops.h"

#define SWAN_UMT5_MAX_LAYERS 64

typedef struct swan_umt5_config {
    int64_t vocab, width, heads, head_dim, ffn, buckets;
    int layers, max_distance;
    float eps;
} swan_umt5_config;

typedef struct swan_umt5_layer {
    swan_tensor norm1, norm2; /* f32 [width] */
    swan_linear q, k, v, o;   /* [heads * head_dim, width], o transposed in shape */
    swan_tensor rel_bias;     /* f32 [heads, buckets] */
    swan_linear gate, up, down;
} swan_umt5_layer;

typedef struct swan_umt5 {
    swan_umt5_config config;
    swan_tensor embedding; /* [vocab, width], stored type */
    swan_tensor final_norm;
    swan_umt5_layer layer[SWAN_UMT5_MAX_LAYERS];
} swan_umt5;

/* Reads config.json of a text encoder. */
swan_status swan_umt5_config_read(const char *path, swan_umt5_config *out);
/* Binds the weights; loader->values is set here. Run once with a dry arena to size it. */
swan_status swan_umt5_load(swan_umt5 *m, const swan_umt5_config *config, swan_weight_loader *loader);
/* The relative-position bucket of distance key - query (bidirectional). */
int swan_umt5_bucket(int distance, int buckets, int max_distance);
/* Fills ids i32 [heads * (2 n - 1)] (host): where each head's bias for distance -(n-1) .. n-1 stands in rel_bias. */
void swan_umt5_bias_ids(const swan_umt5_config *config, int64_t n, int32_t *ids);
/* Every layer's bias for every head and distance of n tokens: f32 [layers, heads, 2 n - 1], of bias_ids on the device. It is read where
 * the layers were bound, be that memory of the host. A prompt of fewer tokens reads the middle of each row. */
swan_status swan_umt5_biases(const swan_umt5 *m, swan_ctx *ctx, const swan_tensor *bias_ids, swan_tensor *biases);
/* What the encoder reads, on the device: ids i32 [n], and one of biases (for n tokens or more) and bias_ids (as above, for n). With padding
 * behind the prompt, n counts it, and key_bias f32 [n] is 0 for the prompt and -inf for padding; otherwise it is NULL. */
typedef struct swan_umt5_input {
    const swan_tensor *ids, *bias_ids, *biases, *key_bias;
    const swan_weight_fetch *fetch; /* NULL: the layers are where they were bound */
} swan_umt5_input;
/* The parts that may be away: the layers, and the table, of which a GPU reads a prompt's rows where they lie. */
enum { SWAN_UMT5_LAYERS, SWAN_UMT5_TABLE };
/* The weights of layer i. */
swan_weight_span swan_umt5_span(const swan_umt5 *m, int i);
/* Rows that a GPU takes for a prompt of n tokens (1..512): 32, 64, 96, 128, 256 or 512. Up to 128 a product's time grows with the
 * rows less than with their number, and beyond that prompts are rare. */
int64_t swan_umt5_padded(int64_t n);
/* Which of them, from 0 on. */
enum { SWAN_UMT5_SHAPES = 6 };
int swan_umt5_shape(int64_t n);
/* context [n, width] in the activation format is written; rows of padding are of no use. */
swan_status swan_umt5_forward(const swan_umt5 *m, swan_ctx *ctx, const swan_umt5_input *in, swan_tensor *context);

#endif
