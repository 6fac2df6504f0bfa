/* The engine: one model on one device. Checkpoints are mapped, weights bound, kernels picked; immutable once open. */
#ifndef SWAN_PIPE_ENGINE_H
#define SWAN_PIPE_ENGINE_H

#include "base/file.h"
#include "kernel/device.h"
#include "model/taehv.h"
#include "model/umt5.h"
#include "model/wan_dit.h"
#include "pipe/params.h"
#include "pipe/recipe.h"
#include "pipe/residency.h"
#include "tok/tokenizer.h"

/* One component: its file, its weights. */
typedef struct swan_component {
    swan_ckpt *ckpt;
    uint64_t mapped_bytes; /* weights read from the mapped file */
    uint64_t copied_bytes; /* weights converted into the weight arena */
    uint64_t source_bytes; /* what these are in the mapped file */
    int64_t parameters;
} swan_component;

struct swan_engine {
    swan_params *params;       /* what it was opened with */
    char directory[SWAN_PATH_MAX];
    char name[128];            /* last part of the directory: for messages and metadata */
    char class_name[64];
    bool synthetic;            /* made-up weights (pipe/synthetic.h); there is no directory, and no tokenizer */
    uint64_t resident_bytes;   /* of the process before weights are read: with the tokenizer, and what a file's layout has us copy */
    uint64_t device_base_bytes; /* in use on the GPU before anything of ours was; 0 on the host */
    unsigned cpu_features;
    swan_device device;
    bool device_lent;          /* the caller closes it */
    swan_stream stream;        /* for loading */
    swan_kernels kernels;      /* for the model's activations: F32 on the host and in exact runs, BF16 on a GPU */
    swan_kernels kernels_f32;  /* for what is f32 beside bf16 activations */
    swan_kernels kernels_f16;  /* for the image decoder beside bf16 activations; empty otherwise */
    swan_arena host_weights;   /* in memory of alloc_staging: what is away */
    bool plan_only;            /* weights are sized and not loaded: nothing but planning works */
    int away[SWAN_PARTS];      /* layers that pass through the device (pipe/layer_stream.h); none on the host */
    size_t layer_bytes[SWAN_PARTS]; /* of one that is away; set where any is */
    uint64_t allowed_bytes;    /* of --vram, for weights and a session; 0: whatever is free */
    swan_arena weights;        /* on the device: converted copies, and on a GPU all weights */
    swan_component text_part, dit_part, taehv_part;
    swan_tokenizer *tokenizer;
    swan_umt5 umt5;
    swan_wan_dit dit;
    swan_taehv taehv;
    char taehv_path[SWAN_PATH_MAX]; /* "" when there is no decoder */
    swan_recipe recipe;        /* the model's own, without flags */
    char default_prompt[256];  /* swan.json; "" when there is none */
};

/* Is the device the host? */
bool swan_engine_on_host(const swan_engine *engine);
/* swan_engine_open on a device that the caller has opened and closes, which need not be one that is listed; for tests. */
swan_status swan_engine_open_on(const swan_device *device, const swan_params *params, const swan_callbacks *callbacks, swan_engine **out);
/* Layers of a part that may be away, and where the weights of one are that is. part: not the embedding. */
int swan_engine_layers(const swan_engine *engine, int part);
swan_weight_span swan_engine_span(const swan_engine *engine, int part, int layer);
/* Sends one line to the callbacks' log, if any. */
void swan_engine_log(const swan_callbacks *callbacks, swan_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The error of a model without a decoder: which file, where it is published, its checksum. */
swan_status swan_engine_no_decoder(const swan_engine *engine);

#endif
