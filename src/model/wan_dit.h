/* Wan's diffusion transformer: latent and text -> velocity. Source: Wan2.1 T2V (Diffusers WanTransformer3DModel) and FastWan,
 * which adds a gate projection per block for Video Sparse Attention. Every size comes from config.json. */
#ifndef SWAN_MODEL_WAN_DIT_H
#define SWAN_MODEL_WAN_DIT_H

#include "attn/self.h"
#include "attn/tiles.h"
#include "model/weights.h"
#include "ops/ops.h"

#define SWAN_WAN_MAX_LAYERS 64
#define SWAN_TEXT_TOKENS 512 /* rows that cross-attention sees; those behind the prompt are zero, and take part */

typedef struct swan_wan_config {
    int64_t dim, heads, head_dim, ffn, in_channels, out_channels, text_dim, freq_dim;
    int layers;
    float eps;
    bool gates; /* the checkpoint has to_gate_compress: it was trained with VSA */
} swan_wan_config;

typedef struct swan_wan_attention_weights {
    swan_linear q, k, v, o;
    swan_tensor norm_q, norm_k; /* f32 [dim] */
} swan_wan_attention_weights;

typedef struct swan_wan_block {
    swan_tensor modulation; /* f32 [1, 6, dim]: shift, scale, gate of attention, then of the feed-forward */
    swan_wan_attention_weights self, cross;
    swan_linear gate;               /* VSA only */
    swan_tensor norm_weight, norm_bias; /* before cross-attention, f32 [dim] */
    swan_linear up, down;           /* feed-forward */
} swan_wan_block;

typedef struct swan_wan_dit {
    swan_wan_config config;
    swan_linear patch;              /* [dim, in_channels * 4] */
    swan_linear time1, time2, time_proj;
    swan_linear text1, text2;
    swan_tensor head_modulation;    /* f32 [1, 2, dim] */
    swan_linear head;               /* [out_channels * 4, dim] */
    swan_wan_block block[SWAN_WAN_MAX_LAYERS];
} swan_wan_dit;

/* Reads transformer/config.json; gates is set by swan_wan_dit_load. Image-to-video variants are refused by name. */
swan_status swan_wan_config_read(const char *path, swan_wan_config *out);
/* The config from tensor shapes alone, for a single file without config.json (head_dim 128, freq_dim from the file). */
swan_status swan_wan_config_from_weights(const swan_ckpt *ckpt, swan_wan_config *out);
/* Binds the weights. Run once with a dry arena to size it. */
swan_status swan_wan_dit_load(swan_wan_dit *m, const swan_wan_config *config, swan_weight_loader *loader);

/* The parts of the blocks that may be away: what steps read, block by block; and what makes a prompt's keys and values, in groups of
 * blocks. */
enum { SWAN_WAN_STEPS, SWAN_WAN_TEXTS };
/* Blocks whose keys and values are made by one product on a GPU, wherever their weights are, so that the result has the same bits: at
 * least three groups where there are so many blocks, and no larger than what is easily streamed. All groups are alike. */
int swan_wan_text_group(const swan_wan_dit *m);
/* The weights of block i, or group i, in one of the parts. */
swan_weight_span swan_wan_span(const swan_wan_dit *m, int part, int i);

/* What a prompt contributes to every step: the cross-attention keys and values of each block. */
typedef struct swan_wan_text {
    int64_t rows;       /* swan_wan_text_rows */
    swan_tensor k, v;   /* [layers * rows, dim]; with ld, each group is columns of [rows, ld]: k and v of its first block, of its second, … */
    int64_t ld;         /* 0, or 2 * swan_wan_text_group * dim */
    swan_tensor bias;   /* f32 [rows], of swan_wan_text_bias */
} swan_wan_text;
/* Rows that stand for a prompt of n tokens (1..512) and the zero rows behind it: n, and one more when there are zero rows, for
 * they are equal. padded: then up to the next of 64, 128, 256 and 512 with rows that weigh nothing, so that a GPU meets four
 * shapes and no others. 63, 127 and 255 tokens fill a shape; 128 take the one of 256, for without the zero rows' key the softmax is
 * another function. (The encoder has no such row: swan_umt5_padded of 128 is 128.) */
enum { SWAN_WAN_TEXT_SHAPES = 4 };
int64_t swan_wan_text_rows(int64_t n, bool padded);
/* Which of the shapes so many rows are, and the most tokens that take a shape with a row for the zero rows. */
int swan_wan_text_shape(int64_t rows);
int64_t swan_wan_text_tokens(int shape);
/* Reserves text's tensors in the context's arena; padded on a GPU. */
swan_status swan_wan_text_reserve(const swan_wan_dit *m, swan_ctx *ctx, int64_t n, swan_wan_text *text);
/* Host values of text->bias, to be copied there by the caller: 0 for each of n tokens, log(512 - n) for the row of the zero
 * rows, -inf for padding. */
void swan_wan_text_bias(int64_t n, int64_t rows, float *bias);
/* context [rows, text_dim]: n rows of the encoder, the others zero. fetch: of SWAN_WAN_TEXTS; NULL: they are where they were bound. */
swan_status swan_wan_text_run(const swan_wan_dit *m, swan_ctx *ctx, const swan_tensor *context, const swan_weight_fetch *fetch,
                              swan_wan_text *text);

/* What a geometry contributes: sizes, token order, rotary table, attention. All on the device. */
typedef struct swan_wan_geometry {
    swan_grid grid;
    swan_tensor order; /* i32 [L], data NULL: raster */
    swan_tensor rope;  /* f32 [L, head_dim / 2, 2] */
    swan_self_attention attention;
} swan_wan_geometry;
/* Host values of the rotary table in the given order (NULL: raster): f32 [L, head_dim / 2, 2] = cos, sin. */
void swan_wan_rope(swan_grid grid, int64_t head_dim, const int32_t *order, float *table);

/* What a timestep contributes, f32 [6 * layers + 2, dim]: each block's shift, scale and gate of attention, then of the
 * feed-forward; the head's shift and scale. Weights and timestep alone decide it. */
int64_t swan_wan_modulation_rows(const swan_wan_dit *m);
/* timestep: 0 .. 1000. */
swan_status swan_wan_modulation_run(const swan_wan_dit *m, swan_ctx *ctx, double timestep, swan_tensor *out);

/* What one prediction is about. */
typedef struct swan_wan_step {
    const swan_wan_geometry *geometry;
    const swan_wan_text *text;
    const swan_tensor *modulation; /* of the timestep */
    const ptrdiff_t *shift;        /* [layers]: SWAN_WAN_STEPS of a block is so many bytes from where it was bound; NULL: none is */
} swan_wan_step;
/* One velocity prediction. latent f32 [in_channels, T, H, W], velocity f32 [out_channels, T, H, W]. */
swan_status swan_wan_dit_forward(const swan_wan_dit *m, swan_ctx *ctx, const swan_wan_step *step, const swan_tensor *latent,
                                 swan_tensor *velocity);
/* The same in pieces: begin, every part of every block in order, end. x [L, dim], the residual stream, is all that goes from piece
 * to piece; reserve takes it from the arena, where it has to stay until the end. A block's parts: self-attention, cross-attention,
 * feed-forward; part p of block i is number SWAN_WAN_PARTS * i + p. */
enum { SWAN_WAN_PARTS = 3 };
swan_status swan_wan_dit_reserve(const swan_wan_dit *m, swan_ctx *ctx, const swan_wan_geometry *geometry, swan_tensor *x);
swan_status swan_wan_dit_begin(const swan_wan_dit *m, swan_ctx *ctx, const swan_wan_step *step, const swan_tensor *latent,
                               swan_tensor *x);
/* Parts from .. end - 1. */
swan_status swan_wan_dit_parts(const swan_wan_dit *m, swan_ctx *ctx, const swan_wan_step *step, int from, int end, swan_tensor *x);
swan_status swan_wan_dit_end(const swan_wan_dit *m, swan_ctx *ctx, const swan_wan_step *step, const swan_tensor *x,
                             swan_tensor *velocity);

#endif
