/* The settings of a run as a struct, and the one table that fills it: key, flag, type, range, default, help. The command line,
 * --help, the shell completion and the server's JSON keys all come from the table in params.c. */
#ifndef SWAN_PIPE_PARAMS_H
#define SWAN_PIPE_PARAMS_H

#include <swan/swan.h>

#include "sched/sched.h"

#define SWAN_UNSET_INT (-1)
#define SWAN_UNSET_NUMBER (-1.0) /* no number here may be negative */

typedef enum swan_precision { SWAN_PRECISION_AUTO, SWAN_PRECISION_EXACT, SWAN_PRECISION_PARITY_BF16 } swan_precision;
typedef enum swan_attention_choice { SWAN_ATTENTION_AUTO, SWAN_ATTENTION_DENSE, SWAN_ATTENTION_VSA } swan_attention_choice;
typedef enum swan_weights_choice { SWAN_WEIGHTS_FILES, SWAN_WEIGHTS_RANDOM } swan_weights_choice;
typedef enum swan_graphs_choice { SWAN_GRAPHS_ON, SWAN_GRAPHS_OFF } swan_graphs_choice;

/* Strings are owned; NULL: not given. Numbers: SWAN_UNSET_*: the recipe decides. */
struct swan_params {
    /* model */
    char *model, *transformer, *taehv, *device, *kernels;
    int threads;
    int precision; /* swan_precision */
    int weights;   /* swan_weights_choice */
    int64_t vram;  /* bytes of a GPU to use at most; 0: what is free */
    int graphs;    /* swan_graphs_choice */
    /* video */
    char *prompt, *negative_prompt, *noise;
    int width, height, frames, fps, steps;
    int sampler, grid;    /* swan_sampler, swan_sched_grid, or SWAN_UNSET_INT */
    double shift, guidance, sparsity;
    int attention;        /* swan_attention_choice */
    int64_t seed;         /* < 0: random */
    /* output */
    char *output, *dump, *trace, *encoder, *preset;
    int quality;          /* constant rate factor of the encoder */
    bool metadata;
    char *text;           /* scratch of swan_params_get */
};

/* A deep copy. */
swan_status swan_params_copy(const swan_params *from, swan_params **out);

#endif
