/* Swan: text to video on your own machine. The only public header.
 *
 * Objects: swan_params (settings of one run, by key), swan_engine (weights and kernels of one model on one device; immutable,
 * shared by threads), swan_session (one video at a time, one thread at a time). Every function that can fail returns a
 * swan_status; swan_last_error() then holds one sentence for the calling thread. Nothing here exits or aborts the process. */
#ifndef SWAN_SWAN_H
#define SWAN_SWAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SWAN_VERSION "0.1.0"

#if defined(__GNUC__)
#define SWAN_API __attribute__((visibility("default")))
#else
#define SWAN_API
#endif

typedef enum swan_status {
    SWAN_OK = 0,
    SWAN_E_INVALID,     /* an argument, option or size that cannot be used */
    SWAN_E_NOT_FOUND,   /* a file, tensor or name that is not there */
    SWAN_E_IO,          /* reading or writing failed */
    SWAN_E_FORMAT,      /* a file that is not what it should be: damaged, hostile or of another kind */
    SWAN_E_NOMEM,       /* out of host or device memory */
    SWAN_E_UNSUPPORTED, /* valid, but this build or device cannot do it */
    SWAN_E_CANCELLED,   /* stopped on request */
    SWAN_E_DEVICE,      /* the device failed; the engine cannot be used any more */
    SWAN_E_BUG          /* a broken invariant of ours: please report it */
} swan_status;

/* Version of the library, e.g. "0.1.0". */
SWAN_API const char *swan_version(void);
/* Short name of a status, e.g. "not found". Never NULL. */
SWAN_API const char *swan_status_name(swan_status status);
/* The message of the last failure on the calling thread ("" if none). Valid until the thread's next failing call. */
SWAN_API const char *swan_last_error(void);

/* ---- settings ------------------------------------------------------------------------------------------------------- */

/* One row of the option table: what the command line, a server and this API share. */
typedef struct swan_option {
    const char *key;     /* "num_frames" */
    const char *flag;    /* "--frames", NULL when there is no flag */
    char letter;         /* 'm' for -m, 0 when there is none */
    const char *value;   /* "N", "WxH", "FILE"; NULL for a switch */
    const char *fallback;/* default as text; NULL: decided by the model or not set */
    const char *help;    /* one line */
    unsigned groups;     /* SWAN_GROUP_* */
} swan_option;

#define SWAN_GROUP_MODEL 1u   /* what swan_engine_open reads */
#define SWAN_GROUP_VIDEO 2u   /* what a session and a plan read */
#define SWAN_GROUP_OUTPUT 4u  /* where results go */

/* The option table in its documented order; NULL when i is past its end. */
SWAN_API const swan_option *swan_option_at(size_t i);

typedef struct swan_params swan_params;
/* A set of defaults. Owned by the caller; freed by swan_params_free (NULL is fine). */
SWAN_API swan_status swan_params_new(swan_params **out);
SWAN_API void swan_params_free(swan_params *params);
/* Sets one option by key from text, checking type and range. The text is copied. */
SWAN_API swan_status swan_params_set(swan_params *params, const char *key, const char *value);
/* The value as text ("" when unset); valid until the next get on the same params. NULL for an unknown key. */
SWAN_API const char *swan_params_get(swan_params *params, const char *key);

/* ---- callbacks ------------------------------------------------------------------------------------------------------ */

typedef enum swan_phase { SWAN_PHASE_LOAD, SWAN_PHASE_TEXT, SWAN_PHASE_DENOISE, SWAN_PHASE_DECODE, SWAN_PHASE_DONE } swan_phase;
SWAN_API const char *swan_phase_name(swan_phase phase);

typedef struct swan_progress {
    swan_phase phase;
    int step, steps;    /* inside the phase: denoising steps, or frames written */
    double fraction;    /* of the whole request, 0..1, never decreasing */
    double elapsed_s;   /* since the request began */
    double remaining_s; /* estimate; < 0 while unknown */
} swan_progress;

typedef enum swan_log_level { SWAN_LOG_DEBUG, SWAN_LOG_INFO, SWAN_LOG_WARN } swan_log_level;

/* All are optional and called on the session's thread, except frame, which is called on its encoding thread.
 * progress returns false to cancel. frame: rgb u8 [height, width, 3], borrowed for the call. */
typedef struct swan_callbacks {
    void *user;
    bool (*progress)(void *user, const swan_progress *progress);
    void (*log)(void *user, swan_log_level level, const char *text);
    void (*frame)(void *user, int index, int width, int height, const uint8_t *rgb);
    /* after denoising step `step`: what its guess of the clean video looks like halfway through; costs one decoded frame */
    void (*preview)(void *user, int step, int width, int height, const uint8_t *rgb);
} swan_callbacks;

/* ---- engine and session --------------------------------------------------------------------------------------------- */

typedef struct swan_engine swan_engine;
/* Opens the model named by params ("model", "transformer", "taehv", "device", "threads", "kernels", …) and checks every
 * weight. callbacks may be NULL (only log and progress are used, during this call). */
SWAN_API swan_status swan_engine_open(const swan_params *params, const swan_callbacks *callbacks, swan_engine **out);
/* Closes an engine; its sessions must be closed before. NULL is fine. */
SWAN_API void swan_engine_close(swan_engine *engine);
/* A JSON description of the model, recipe (with the rule that chose it), weights and kernels. Freed by swan_string_free. */
SWAN_API swan_status swan_engine_describe(const swan_engine *engine, char **json);

/* What a run will need, from a dry run of the same code. Bytes are exact for our own memory. */
typedef struct swan_plan_phase {
    const char *name;         /* "text", "denoise", "decode" */
    uint64_t activation_bytes;/* arena peak of the phase */
    uint64_t weight_bytes;    /* weights that the phase reads, converted copies included */
    uint64_t launches;        /* kernel calls of the phase */
    double flops;             /* floating-point operations of the phase */
    double bytes;             /* operand bytes of the phase, each read or written once per kernel */
} swan_plan_phase;

typedef struct swan_plan {
    int width, height, frames, fps, steps, tokens;
    int prompt_tokens;        /* of the prompt that the phases are for; 0: the longest there can be */
    uint64_t mapped_bytes;    /* checkpoint files mapped and read, page cache backed */
    uint64_t arena_bytes;     /* weights copied or converted by us */
    uint64_t session_bytes;   /* reserved by a session: its state and the activations of the hungriest phase */
    uint64_t state_bytes;     /* of these, what lives through all phases: latents, prompt, tables */
    uint64_t staging_bytes;   /* host memory of a session beside these: ids and noise on their way */
    uint64_t peak_bytes;      /* expected peak of the process in host memory: the sum above, files read to be converted, a measured base */
    uint64_t device_bytes;    /* of the above, what lies on a GPU: exact; 0 on the CPU */
    uint64_t device_base_bytes; /* in use on it before any of ours: CUDA's context, libraries, other processes; measured */
    uint64_t device_peak_bytes; /* expected peak on it: the two above, and code and graphs */
    /* what "vram" decides: weights that stay in host memory and pass through the GPU when they are at work. 0: all are resident */
    uint64_t host_weight_bytes; /* page-locked */
    int blocks, blocks_streamed;           /* of the transformer */
    int text_layers, text_layers_streamed; /* of the text encoder */
    uint64_t prompt_bus_bytes;  /* over the bus for the prompts of a video */
    uint64_t step_bus_bytes;    /* for each step of denoising */
    int phase_count;
    swan_plan_phase phase[4];
} swan_plan;
SWAN_API swan_status swan_engine_plan(const swan_engine *engine, const swan_params *params, swan_plan *plan);
/* The same from the model that params name, without loading it: no weight is copied and nothing is reserved, so that what does not
 * fit can be planned as well; the log says then that it does not. callbacks may be NULL. */
SWAN_API swan_status swan_plan_model(const swan_params *params, const swan_callbacks *callbacks, swan_plan *plan);

typedef struct swan_session swan_session;
/* Reserves all memory for the geometry in params. callbacks are copied. One session may generate many times. */
SWAN_API swan_status swan_session_open(swan_engine *engine, const swan_params *params, const swan_callbacks *callbacks,
                                       swan_session **out);
SWAN_API void swan_session_close(swan_session *session);

typedef struct swan_report {
    uint64_t seed;            /* the seed that was used */
    int width, height, frames, fps, steps;
    double text_s, denoise_s, decode_s, total_s; /* decode includes what encoding could not overlap */
    double close_s;           /* of decode_s, what was left to do when the last frame was decoded */
    uint64_t session_bytes;   /* reserved; equals the plan's session_bytes */
    uint64_t process_peak_bytes; /* host memory */
    uint64_t device_bytes, device_base_bytes, device_peak_bytes; /* as in the plan; the peak is measured. 0 on the CPU */
    uint64_t output_bytes;    /* size of the written file, 0 when none */
} swan_report;
/* Makes one video from the params given at open, with this prompt (NULL: that of the params, else the model's default) and
 * seed (< 0: random). report may be NULL. */
SWAN_API swan_status swan_session_generate(swan_session *session, const char *prompt, int64_t seed, swan_report *report);
/* Asks a running generate to stop; callable from any thread and from a signal handler. */
SWAN_API void swan_session_cancel(swan_session *session);

/* ---- devices -------------------------------------------------------------------------------------------------------- */

typedef struct swan_device_summary {
    char name[16];         /* what --device takes: "cpu", "cuda:0" */
    char description[120];
    uint64_t memory_bytes;
    bool usable;           /* this build has kernels for it */
} swan_device_summary;
/* The i-th device of this machine, the CPU first; false past the end. Needs neither driver nor GPU. */
SWAN_API bool swan_device_at(size_t i, swan_device_summary *out);

/* ---- around it ------------------------------------------------------------------------------------------------------ */

/* The recipe stored in a video made by Swan, as JSON. Freed by swan_string_free. */
SWAN_API swan_status swan_inspect(const char *path, char **json);
SWAN_API void swan_string_free(char *string);

#ifdef __cplusplus
}
#endif
#endif
