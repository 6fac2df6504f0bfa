/* How a checkpoint wants to be run: sampler, steps, shift, guidance, attention, default geometry; and which rule said so.
 * In order: flags; swan.json beside model_index.json; the published id; class WanDMDPipeline or gates in the weights; base Wan. */
#ifndef SWAN_PIPE_RECIPE_H
#define SWAN_PIPE_RECIPE_H

#include "attn/self.h"
#include "pipe/params.h"

typedef struct swan_recipe {
    swan_sampler sampler;
    swan_sched_grid grid;
    int steps;
    double shift, guidance, sparsity;
    swan_attn_kind attention;
    int width, height, frames, fps;
    char rule[192]; /* for people: "published id FastWan2.1-T2V-1.3B-Diffusers" */
} swan_recipe;

/* What the rules look at. Strings may be NULL. */
typedef struct swan_recipe_facts {
    const char *directory;    /* of model_index.json */
    const char *name_or_path; /* "_name_or_path" of the model's configs */
    const char *class_name;   /* "_class_name" of model_index.json */
    double flow_shift;        /* of scheduler_config.json, <= 0: not there */
    bool gates;               /* to_gate_compress in the transformer */
    int64_t width;            /* of the transformer: 5120 is the 14B */
} swan_recipe_facts;

/* The model's own recipe, without flags. Errors: a damaged swan.json. */
swan_status swan_recipe_choose(const swan_recipe_facts *facts, swan_recipe *out);
/* Flags on top; the rule then says that they changed something. SWAN_E_INVALID where a flag does not go with the model. */
swan_status swan_recipe_apply(const swan_params *params, bool gates, swan_recipe *recipe);

#endif
