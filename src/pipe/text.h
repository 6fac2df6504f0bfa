/* The text stage: prompt -> ids -> context -> the transformer's keys and values of it. On a GPU it is captured, once for each number of
 * tokens that the encoder takes, and once for each prompt slot and number of rows that the transformer takes.
 *
 * Invariants
 * 1. Captured kernels find ids, biases, context, keys and values at fixed places of the session's state, and their scratch where it was at
 *    the capture: the activation arena is empty when a prompt is encoded.
 * 2. What the number of tokens changes within a shape is memory, not launches: the biases of keys, and the zeros behind the context, which
 *    are written between the two graphs.
 * 3. Layers that pass through the device are launched kernel by kernel, each behind the copy of its weights. */
#ifndef SWAN_PIPE_TEXT_H
#define SWAN_PIPE_TEXT_H

#include "model/umt5.h"
#include "pipe/segments.h"

typedef struct swan_text_graphs {
    swan_segment encoder[SWAN_UMT5_SHAPES];
    swan_segment keys[SWAN_PROMPTS][SWAN_WAN_TEXT_SHAPES];
} swan_text_graphs;

/* On a GPU: fills what no prompt changes. */
swan_status swan_text_open(struct swan_session *s);
/* Part of the session's capture; discard is fine when nothing was captured. */
swan_status swan_text_capture(struct swan_session *s);
void swan_text_discard(struct swan_session *s);

#endif
