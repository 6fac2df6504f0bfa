/* Denoising on a GPU in segments: groups of blocks of the transformer that take at most 40 ms each, or parts of a block that takes
 * longer; the first with what comes before the blocks, the last with what comes behind them. On the host and dry, a pass is one piece.
 *
 * Invariants
 * 1. At most SWAN_IN_FLIGHT segments are enqueued and not finished, captured or not: who cancels waits for no more than those, and at
 *    the beginning for the text before them.
 * 2. A captured segment finds at fixed places what changes with the step (latent, modulation) and with the prompt (keys, values,
 *    bias), so it serves every step, prompt and seed of the session. There is one set of them for each prompt slot and each
 *    number of text rows, captured when the session is opened.
 * 3. Addresses in the activation arena are those of the capture, because it is empty when a pass begins.
 * 4. A block whose weights are away begins a segment, and there is no other such block in it: its weights come between segments, on
 *    another stream, and a captured segment finds them at fixed places.
 * 5. Captured or not, the same kernels run with the same arguments: the result has the same bits. */
#ifndef SWAN_PIPE_SEGMENTS_H
#define SWAN_PIPE_SEGMENTS_H

#include "model/wan_dit.h"

/* The prompt, and with guidance the negative prompt. */
enum { SWAN_POSITIVE, SWAN_NEGATIVE, SWAN_PROMPTS };

enum { SWAN_IN_FLIGHT = 2, SWAN_SEGMENTS_MOST = SWAN_WAN_MAX_LAYERS * SWAN_WAN_PARTS };

/* One captured segment, and what ops counted while it was captured. */
typedef struct swan_segment {
    swan_graph graph;
    swan_counters counters;
} swan_segment;

typedef struct swan_segments {
    int count;                         /* segments a pass; 0: not opened */
    int first[SWAN_SEGMENTS_MOST + 1]; /* where each begins, as a number of swan_wan_dit_parts; and the end */
    double part_s[SWAN_WAN_PARTS];     /* measured times of a block's parts */
    bool captured;
    swan_segment segment[SWAN_PROMPTS][SWAN_WAN_TEXT_SHAPES][SWAN_SEGMENTS_MOST];
    swan_event done[SWAN_IN_FLIGHT];   /* behind segment i at i modulo SWAN_IN_FLIGHT */
    uint64_t launched;                 /* segments since the request began */
    int step_launched;                 /* of these, in the present step */
} swan_segments;

struct swan_session;

/* Captures what `run` enqueues. */
swan_status swan_segments_record(struct swan_session *s, swan_status (*run)(struct swan_session *s, const void *what), const void *what,
                                 swan_segment *out);
/* Launches it again, and counts it. */
swan_status swan_segments_replay(struct swan_session *s, const swan_segment *segment);

/* Cuts a pass over `layers` blocks, of which `away` are, into segments of at most `limit` seconds, or one part where that takes longer.
 * Whole blocks where one fits. Fills first as above and returns how many there are. */
int swan_segments_cut(const double part_s[SWAN_WAN_PARTS], int layers, int away, double limit, int first[SWAN_SEGMENTS_MOST + 1]);

/* On a GPU: runs everything once, which loads what libraries and driver load when first used; measures; captures, unless the
 * engine's "graphs" is off. Where capturing fails the log says so, and segments are launched kernel by kernel. Does nothing on
 * the host. */
swan_status swan_segments_open(struct swan_session *s);
/* Fine when it was never opened. */
void swan_segments_close(struct swan_session *s);

/* A request begins (nothing is in flight); a step begins. */
void swan_segments_begin_request(struct swan_session *s);
void swan_segments_begin_step(struct swan_session *s);
/* One pass over the sample for a prompt slot: velocity f32 as the sample. Enqueued; between segments the host sees cancel and
 * reports progress. */
swan_status swan_segments_pass(struct swan_session *s, int which, swan_tensor *velocity);

#endif
