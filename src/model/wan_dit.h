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

/* What a prompt contributes to every step: the cross-attention keys and values of each block. */
typedef struct swan_wan_text {
    int64_t rows;       /* n, or n + 1 when zero rows follow: they are equal, so one row stands for them */
    swan_tensor k, v;   /* [layers * rows, dim] */
    swan_tensor bias;   /* f32 [rows]: 0, and log(512 - n) for the row that stands for the zero rows */
    bool collapsed;
} swan_wan_text;
/* Reserves text's tensors in the context's arena for n real tokens (1..512), and fills bias (host values through upload). */
swan_status swan_wan_text_reserve(const swan_wan_dit *m, swan_ctx *ctx, int64_t n, swan_wan_text *text);
/* Values of bias for n tokens [rows], to be copied to text->bias by the caller. */
void swan_wan_text_bias(int64_t n, float *bias);
/* context [rows, text_dim]: n rows of the encoder and, when collapsed, one row of zeros. */
swan_status swan_wan_text_run(const swan_wan_dit *m, swan_ctx *ctx, const swan_tensor *context, swan_wan_text *text);

/* What a geometry contributes: sizes, token order, rotary table, attention. All on the device. */
typedef struct swan_wan_geometry {
    swan_grid grid;
    swan_tensor order; /* i32 [L], data NULL: raster */
    swan_tensor rope;  /* f32 [L, head_dim / 2, 2] */
    swan_self_attention attention;
} swan_wan_geometry;
/* Host values of the rotary table in the given order (NULL: raster): f32 [L, head_dim / 2, 2] = cos, sin. */
void swan_wan_rope(swan_grid grid, int64_t head_dim, const int32_t *order, float *table);

/* What one prediction is about. */
typedef struct swan_wan_step {
    const swan_wan_geometry *geometry;
    const swan_wan_text *text;
    double timestep; /* 0 .. 1000 */
} swan_wan_step;
/* One velocity prediction. latent f32 [in_channels, T, H, W], velocity f32 [out_channels, T, H, W]. */
swan_status swan_wan_dit_forward(const swan_wan_dit *m, swan_ctx *ctx, const swan_wan_step *step, const swan_tensor *latent,
                                 swan_tensor *velocity);

#endif
