/* Which weights stay on a GPU and which pass through it, for so much memory. A matter of numbers alone: the engine measures them by dry
 * runs, and loads by the answer.
 *
 * Goal: the fewest bytes over the bus a video. Parts differ in how often a video reads them: what steps read in every pass, what a prompt
 * needs once. So as many layers as fit are resident, and as a rule those of the first kind before the others. A part of which any layer
 * is away costs a session two places of a layer; these lie among a phase's activations and are free where another phase needs more. */
#ifndef SWAN_PIPE_RESIDENCY_H
#define SWAN_PIPE_RESIDENCY_H

#include "base/status.h"

/* What may be away. */
enum {
    SWAN_PART_BLOCKS,      /* of the transformer: what every step reads (SWAN_WAN_STEPS) */
    SWAN_PART_BLOCK_TEXTS, /* keys and values of the prompt, in groups of blocks (SWAN_WAN_TEXTS) */
    SWAN_PART_TEXT_LAYERS, /* of the text encoder (SWAN_UMT5_LAYERS) */
    SWAN_PART_TEXT_TABLE,  /* its embedding: a prompt's rows are read where they lie (SWAN_UMT5_TABLE) */
    SWAN_PARTS,
    SWAN_RESIDENCIES = 1 << SWAN_PARTS /* sets of parts that are not all resident, as bits */
};

/* Names for people: "blocks", … */
const char *swan_part_name(int part);

/* One part. */
typedef struct swan_part_size {
    int layers;
    uint64_t bytes; /* of one, as the weights' arena counts it */
    double uses;    /* how often a video reads it, relative to the others; 0: as good as never */
} swan_part_size;

typedef struct swan_residency_sizes {
    uint64_t fixed_bytes;  /* weights that are always resident */
    swan_part_size part[SWAN_PARTS];
    uint64_t session_bytes[SWAN_RESIDENCIES]; /* of a session when these parts are streamed */
} swan_residency_sizes;

typedef struct swan_residency {
    int away[SWAN_PARTS];  /* layers */
    uint64_t device_bytes; /* weights and session */
    double bus_bytes;      /* over the bus, each byte as often as its part's uses */
} swan_residency;

/* The best that fits into `allowed` bytes; false when nothing does, and then *out is what takes the least. */
bool swan_residency_choose(const swan_residency_sizes *sizes, uint64_t allowed, swan_residency *out);

#endif
