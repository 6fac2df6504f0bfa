/* A session: the memory and the schedule for one geometry; makes one video at a time.
 *
 * Invariants
 * 1. Two arenas on the device. `state` holds what lives from phase to phase (latents, prompt keys and values, geometry tables);
 *    `activations` holds what a phase needs while it runs, and is empty between phases. A third, `staging`, is host memory:
 *    what the host makes (ids, noise) before it is copied over.
 * 2. Both are sized by running the very code of the phases in DRY mode, for every possible prompt length, before anything is
 *    reserved. After swan_session_open, generating allocates nothing from them beyond that.
 * 3. Everything that depends on the settings alone (schedule, modulation of every step, token order, rotary table) is filled at
 *    open and constant after.
 * 4. Staging memory is written again only when the copies from it have passed: each prompt has its own, noise has an event, and
 *    nothing is in flight between requests.
 * 5. Places for layers that are streamed lie among the activations of the phase that needs them, at its beginning. Between requests
 *    nothing is on its way to them.
 * 6. One thread at a time, swan_session_cancel excepted. */
#ifndef SWAN_PIPE_SESSION_H
#define SWAN_PIPE_SESSION_H

#include "base/rng.h"
#include "pipe/engine.h"
#include "pipe/layer_stream.h"
#include "pipe/frame_ring.h"
#include "pipe/segments.h"
#include "pipe/text.h"
#include "sched/sched.h"

/* Phases of the plan. */
enum { SWAN_PLAN_TEXT, SWAN_PLAN_DENOISE, SWAN_PLAN_DECODE, SWAN_PLAN_PHASES };

/* The tensors of `state`. */
typedef struct swan_state {
    swan_tensor ids, bias_ids;               /* i32 [512], i32 [heads * 1023] */
    swan_tensor biases;                      /* f32 [layers, heads, 1023]: swan_umt5_biases of 512 tokens; on a GPU */
    swan_tensor key_bias;                    /* f32 [512]: 0, and -inf for padding; on a GPU */
    swan_tensor context;                     /* [512, text_dim] */
    swan_tensor text_memory[SWAN_PROMPTS];   /* what swan_wan_text_reserve takes for 512 rows */
    swan_tensor buffer[SWAN_SCHED_BUFFERS];  /* f32 latents of the sampler; data NULL where unused */
    swan_tensor modulations;                 /* f32 [steps, rows, dim]: swan_wan_modulation_run of every step */
    swan_tensor modulation;                  /* f32 [rows, dim]: that of the present step, at a fixed place */
    swan_tensor unguided;                    /* f32 latent: velocity for the negative prompt; with guidance */
    swan_tensor rgb;                         /* u8 [H, W, 3] */
    swan_tensor frames;                      /* u8 [SWAN_FRAMES_UNDER_WAY, H * W * 3], on a GPU */
} swan_state;

/* The host's side of it. */
typedef struct swan_staging {
    struct {
        int32_t *ids, *bias_ids; /* as in swan_state */
        float *text_bias;        /* [512]: swan_wan_text_bias */
        float *key_bias;         /* as in swan_state */
    } text[SWAN_PROMPTS];
    float *noise;            /* a latent */
    uint8_t *rgb;            /* a frame, for previews */
    uint8_t *frames;         /* memory of the queue before the encoder, with a GPU */
    float *drawn;            /* a latent in the generator's order, where that is another one (DMD draws frame-major) */
} swan_staging;

/* Sizes that follow from the settings. */
typedef struct swan_geometry_sizes {
    int width, height, frames, fps;
    int64_t T, H, W; /* of the latent */
    swan_grid grid;  /* of the tokens */
} swan_geometry_sizes;

/* Points of the stream in a request. */
enum { SWAN_MARK_START, SWAN_MARK_TEXT, SWAN_MARK_DENOISED, SWAN_MARK_DECODED, SWAN_MARK_UPLOADED, SWAN_MARKS };

struct swan_session {
    swan_engine *engine;
    swan_params *params;
    swan_callbacks callbacks;
    swan_recipe recipe; /* flags applied */
    bool guided;
    swan_sched sched;
    swan_geometry_sizes size;
    swan_pool *pool;
    swan_stream stream;
    atomic_bool cancel;
    swan_arena state_arena, activations, staging_arena;
    swan_state state;
    swan_staging staging;
    swan_wan_geometry geometry;
    swan_wan_text text[SWAN_PROMPTS]; /* views into state.text_memory for the prompt at hand */
    swan_ctx ctx;
    swan_segments segments;
    swan_text_graphs text_graphs;
    swan_stream copies;                      /* on a GPU: weights on their way */
    swan_layer_stream away[SWAN_PARTS];      /* opened for parts of which any layer is away; never for the embedding */
    ptrdiff_t shift[SWAN_WAN_MAX_LAYERS];    /* swan_wan_step's, in the pass under way */
    swan_event mark[SWAN_MARKS];
    swan_frame_ring ring; /* on a GPU */
    struct swan_clock *clock; /* of the request under way; NULL outside */
    swan_rng rng;
    int preview_step;     /* the step that the preview under way shows */
    double phase_flops[SWAN_PLAN_PHASES]; /* from DRY: shares of the progress bar */
    double total_flops;
};

/* Sizes from the recipe, checked and adjusted; what was adjusted goes to the log. */
swan_status swan_session_sizes(const swan_recipe *recipe, const swan_callbacks *callbacks, swan_geometry_sizes *out);
/* Runs the phases dry and fills plan; used by open (for the reservation) and by swan_engine_plan. tokens: of the prompt, 0: the
 * most that any prompt needs. */
swan_status swan_session_measure(struct swan_session *s, int64_t tokens, swan_plan *plan);

/* Cleans the prompt and turns it into ids i32 [512], count of them. */
swan_status swan_session_tokenize(const swan_engine *engine, const char *prompt, int32_t *ids, int *count);
/* On a GPU: is a prompt of n tokens the longest of those that it takes as equal shapes? n: 1..511. */
bool swan_session_shape_ends(int64_t n);
/* The phases, as generate.c calls them; in DRY mode they only count. */
swan_status swan_session_encode_tokens(struct swan_session *s, int which, int64_t tokens);
/* Where keys and values of a prompt of so many tokens stand: fills s->text[which]. Part of the above. */
swan_status swan_session_place_text(struct swan_session *s, int which, int64_t tokens);
/* Takes the places of a part's layers from the activations, where they stay until the caller's release; none when all are resident. */
swan_status swan_session_reserve_places(struct swan_session *s, int part);
/* For the models: layers of a part, as they come. */
swan_weight_fetch swan_session_fetch(struct swan_session *s, int part);
/* Waits until nothing of this session is on its way on the device. */
swan_status swan_session_settle(struct swan_session *s);
/* The modulation of a step to its fixed place; part of denoise_step. */
swan_status swan_session_set_modulation(struct swan_session *s, int step);
swan_status swan_session_denoise_step(struct swan_session *s, int step);
swan_status swan_session_update(struct swan_session *s, int step);
swan_status swan_session_decode(struct swan_session *s, const swan_taehv_sink *sink);

#endif
