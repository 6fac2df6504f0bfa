/* TAEHV: a tiny autoencoder for video latents; the decoder. Source: madebyollin/taehv (taew2_1), a plain sequence of 3x3
 * convolutions on single frames in which only MemBlocks look at time: each also sees its own input of the frame before.
 *
 * Decoding is depth first, batch by batch of frames: memory is a batch per layer and does not grow with the length of the video.
 * Two forms. As the file has it: batches of one frame. Merged, for GPUs: each stage's growth, enlargement and convolution are one
 * layer (conv.up2x2; equal in real arithmetic), in F16 or F32, and batches are as large as launches need.
 * Widths are read from the file. Latents go in normalised, as the transformer leaves them; frames come out in [0, 1]. */
#ifndef SWAN_MODEL_TAEHV_H
#define SWAN_MODEL_TAEHV_H

#include "model/weights.h"
#include "ops/ops.h"

#define SWAN_TAEHV_STAGES 3
#define SWAN_TAEHV_BLOCKS 3 /* MemBlocks in a stage */
#define SWAN_TAEHV_TRIM 3   /* leading frames that are dropped: T latent frames make 4 T - 3 */
#define SWAN_TAEHV_SPACE 8  /* pixels a latent, each way */

typedef struct swan_taehv_block {
    swan_conv conv[3]; /* (2 n -> n), (n -> n), (n -> n) */
} swan_taehv_block;

typedef struct swan_taehv_stage {
    int64_t width, next;  /* channels inside, channels after conv */
    int grow;             /* frames made of one: 1, 2, 2 */
    swan_taehv_block block[SWAN_TAEHV_BLOCKS];
    swan_tensor grow_weight; /* [grow * width, width]; not in the merged form */
    swan_conv conv;       /* width -> next, no bias; not in the merged form */
    swan_tensor up;       /* [grow, 4, next, 4, width], in the merged form */
} swan_taehv_stage;

typedef struct swan_taehv {
    int64_t channels;    /* of the latent */
    swan_dtype format;   /* of activations; F32 in the form of the file */
    int64_t batch_bytes; /* of a layer's output in the merged form; 0: the form of the file */
    swan_conv in, out;
    swan_taehv_stage stage[SWAN_TAEHV_STAGES];
} swan_taehv;

/* Binds the weights; widths and latent channels come from their shapes. Run once with a dry arena to size it. */
swan_status swan_taehv_load(swan_taehv *m, swan_weight_loader *loader);
/* The merged form for activations of format, F16 or F32: weights are made on the host and placed where the loader says; biases stay
 * f32. A weight beyond F16 is SWAN_E_UNSUPPORTED. */
swan_status swan_taehv_load_merged(swan_taehv *m, swan_weight_loader *loader, swan_dtype format);
/* 4 T - 3. */
int64_t swan_taehv_frames(int64_t latent_frames);

/* Receives frame index (0-based, trimmed ones not counted): frame [8 Hl, 8 Wl, 3] in the decoder's format, not yet clamped,
 * borrowed for the call. In DRY it is called as well, with a tensor that has no memory. */
typedef struct swan_taehv_sink {
    swan_status (*frame)(void *user, swan_ctx *ctx, int64_t index, const swan_tensor *frame);
    void *user;
} swan_taehv_sink;
/* latent f32 [channels, T, Hl, Wl]. */
swan_status swan_taehv_decode(const swan_taehv *m, swan_ctx *ctx, const swan_tensor *latent, const swan_taehv_sink *sink);
/* The same for latent frames [first, first + count) alone, as if the video began there. */
swan_status swan_taehv_decode_part(const swan_taehv *m, swan_ctx *ctx, const swan_tensor *latent, int64_t first, int64_t count,
                                   const swan_taehv_sink *sink);

#endif
