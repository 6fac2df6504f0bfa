/* A checkpoint of made-up weights: names, types and shapes as a file has them, values from a counter-based generator. For
 * measuring a network whose weights are not here. A few blocks of values are mapped again and again, so that a model of 12 GB
 * takes 64 MiB; every tensor begins somewhere else in them. */
#ifndef SWAN_CKPT_RANDOM_H
#define SWAN_CKPT_RANDOM_H

#include "ckpt/safetensors.h"

/* About normal values. Deviations keep activations of Wan-sized networks between 0.1 and 100. */
typedef enum swan_random_kind {
    SWAN_RANDOM_MATRIX, /* BF16, deviation 0.02 */
    SWAN_RANDOM_SMALL,  /* F32, deviation 0.02: biases, tables */
    SWAN_RANDOM_ONES,   /* F32, 1 with deviation 0.02: norms */
    SWAN_RANDOM_CONV,   /* F16, deviation 0.03: sums of a thousand and more */
    SWAN_RANDOM_CONV_MID, /* F16, 0.06 */
    SWAN_RANDOM_CONV_FEW, /* F16, 0.1: sums of fewer than 288 */
    SWAN_RANDOM_CONV_LAST, /* F16, 0.002: what makes colours, so that pictures are grainy and not wild */
    SWAN_RANDOM_GREY,   /* F32, 0.5 with deviation 0.02: the bias that makes colours */
    SWAN_RANDOM_KINDS
} swan_random_kind;

/* One tensor. */
typedef struct swan_random_spec {
    char name[96];
    swan_random_kind kind;
    int ndim;
    int64_t ne[SWAN_MAX_DIMS];
} swan_random_spec;

/* label: what messages call it. The same label, specs and seed give the same values everywhere. SWAN_E_NOMEM, SWAN_E_INVALID (two
 * tensors of one name), SWAN_E_UNSUPPORTED (a system without memfd_create). Closed by swan_ckpt_close. */
swan_status swan_ckpt_random(const char *label, const swan_random_spec *specs, size_t count, uint64_t seed, swan_ckpt **out);

#endif
