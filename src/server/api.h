/* The API's words: a request's fields checked and completed, a job as the JSON object that clients see, errors. No sockets and no
 * store: JSON in, JSON out. The shape is OpenAI's Videos API, with the extension fields that self-hosted servers share. */
#ifndef SWAN_SERVER_API_H
#define SWAN_SERVER_API_H

#include <jansson.h>

#include "server/jobs.h"

/* What the model does unless asked otherwise; from the description that a worker gives. */
typedef struct swan_api_model {
    char name[128];
    const char *aliases; /* comma-separated further names; NULL: none */
    int width, height, frames, fps, steps;
    double shift, guidance;
} swan_api_model;
/* From swan_engine_describe's JSON. SWAN_E_FORMAT: something is missing. */
swan_status swan_api_model_read(const json_t *description, swan_api_model *out);
bool swan_api_model_is(const swan_api_model *model, const char *name);

typedef struct swan_api_limits {
    int prompt_max;         /* characters of a prompt, and of a negative one */
    int64_t pixels_max;     /* width x height x frames */
    int steps_max;
} swan_api_limits;

/* An error as clients see it. */
typedef struct swan_api_error {
    unsigned status;        /* of HTTP */
    const char *type, *code;
    char param[64];         /* "": none */
    char message[512];
} swan_api_error;
/* Fills e and returns false. */
bool swan_api_fail(swan_api_error *e, unsigned status, const char *code, const char *param, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* {"error": {...}} */
json_t *swan_api_error_json(const swan_api_error *e);

/* A request to make a video, checked: fields (an object) may hold strings where numbers are meant, as forms do. job gets model,
 * prompt and settings, with every value that will be used. False: e says what is wrong; job is empty then. */
bool swan_api_create(const json_t *fields, const swan_api_model *model, const swan_api_limits *limits, swan_job *job, swan_api_error *e);
/* A remix: the settings and seed of source, another prompt. */
bool swan_api_remix(const json_t *fields, const swan_job *source, const swan_api_limits *limits, swan_job *job, swan_api_error *e);

/* What is known of a job beyond its row, while it runs. */
typedef struct swan_api_live {
    const char *phase; /* NULL: not running */
    int step, steps, progress; /* progress: 0 .. 99 */
    double remaining_s;        /* < 0: unknown */
    int ahead;                 /* of a queued job: how many come before it; < 0: unknown */
} swan_api_live;
/* The video object. live may be NULL. */
json_t *swan_api_video(const swan_job *job, const swan_api_live *live);
/* Settings after the run: those of asked, with the values of the recipe that the file carries. NULL: out of memory. */
char *swan_api_settled(const char *asked, const json_t *recipe);
/* After how many milliseconds asking again makes sense. */
int swan_api_poll_ms(const swan_job *job, const swan_api_live *live);

#endif
