/* Self-attention of the video tokens: which kind, and what it needs. Policy only; the arithmetic is in the ops. */
#ifndef SWAN_ATTN_SELF_H
#define SWAN_ATTN_SELF_H

#include "ops/ops.h"

typedef enum swan_attn_kind {
    SWAN_ATTN_DENSE, /* softmax(q k^T / sqrt(d)) v */
    SWAN_ATTN_VSA    /* block-sparse fine branch + gate * coarse branch (checkpoints with to_gate_compress) */
} swan_attn_kind;

typedef struct swan_self_attention {
    swan_attn_kind kind;
    int64_t heads;
    /* VSA only */
    int64_t topk;           /* tiles a query tile attends to; all of them: the fine branch is dense */
    swan_tensor tile_start; /* i32 [tiles + 1], on the device */
} swan_self_attention;

/* What happens to q and k before they meet: RMS norm over all heads together, then rotary embedding. */
typedef struct swan_qk_norm {
    swan_rms_norm q, k;
} swan_qk_norm;

/* q, k, v and, for VSA, gate, as they were projected and as swan_qkv says, with ld; q and k are normalised and rotated in place. out
 * [L, heads * head_dim] is none of the inputs. */
swan_status swan_self_attention_run(const swan_self_attention *a, swan_ctx *ctx, const swan_qk_norm *norm, swan_qkv *in, swan_tensor *out);

#endif
