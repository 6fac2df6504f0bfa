#include "server/api.h"

#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { SIZE_STEP = 16 }; /* what a session takes */

/* ---- errors ---- */

bool swan_api_fail(swan_api_error *e, unsigned status, const char *code, const char *param, const char *format, ...)
{
    *e = (swan_api_error){.status = status, .code = code};
    e->type = status == 401 ? "authentication_error" : status == 429 ? "rate_limit_error" : status == 503 ? "unavailable_error"
              : status >= 500 ? "server_error" : "invalid_request_error";
    if (param) snprintf(e->param, sizeof e->param, "%s", param);
    va_list args;
    va_start(args, format);
    vsnprintf(e->message, sizeof e->message, format, args);
    va_end(args);
    return false;
}

/* Text of ours, made from foreign text: may have been cut inside a character. */
static json_t *safe_string(const char *text)
{
    json_t *s = json_string(text);
    if (s) return s;
    char ascii[512];
    snprintf(ascii, sizeof ascii, "%s", text);
    for (char *p = ascii; *p; p++)
        if ((unsigned char)*p >= 0x80) *p = '?';
    return json_string(ascii);
}

json_t *swan_api_error_json(const swan_api_error *e)
{
    return json_pack("{s:{s:o, s:s, s:o, s:s}}", "error", "message", safe_string(e->message), "type", e->type, "param",
                     e->param[0] ? safe_string(e->param) : json_null(), "code", e->code);
}

/* ---- the model ---- */

swan_status swan_api_model_read(const json_t *description, swan_api_model *out)
{
    const json_t *r = json_object_get(description, "recipe");
    const char *name = json_string_value(json_object_get(description, "name")), *aliases = out->aliases;
    int *const ints[] = {&out->width, &out->height, &out->frames, &out->fps, &out->steps};
    static const char *const keys[] = {"width", "height", "num_frames", "fps", "num_inference_steps"};
    if (!name || !r) return SWAN_FAIL(SWAN_E_FORMAT, "the description of the model has no name or recipe");
    *out = (swan_api_model){.aliases = aliases};
    snprintf(out->name, sizeof out->name, "%s", name);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        json_int_t value = json_integer_value(json_object_get(r, keys[i]));
        if (value < 1 || value > 1 << 20) return SWAN_FAIL(SWAN_E_FORMAT, "the description of the model has no good %s", keys[i]);
        *ints[i] = (int)value;
    }
    out->shift = json_number_value(json_object_get(r, "flow_shift"));
    out->guidance = json_number_value(json_object_get(r, "guidance_scale"));
    return SWAN_OK;
}

bool swan_api_model_is(const swan_api_model *model, const char *name)
{
    if (!strcmp(name, model->name)) return true;
    size_t n = strlen(name);
    for (const char *at = model->aliases; at && *at;) {
        at += strspn(at, " ,");
        size_t length = strcspn(at, ",");
        if (n && length == n && !strncmp(at, name, n)) return true;
        at += length;
    }
    return false;
}

/* ---- fields ---- */

/* Fields that become settings, by the names of the option table. */
static const char *const setting_keys[] = {"size", "num_frames", "fps", "num_inference_steps", "guidance_scale", "flow_shift", "seed",
                                           "negative_prompt"};
enum { SETTING_KEYS = sizeof setting_keys / sizeof *setting_keys };
static const char *const other_keys[] = {"prompt", "model", "seconds", "width", "height", "input_reference"};

static bool check_names(const json_t *fields, swan_api_error *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)fields, key, value)
    {
        bool known = false;
        for (int i = 0; i < SETTING_KEYS; i++) known |= !strcmp(key, setting_keys[i]);
        for (size_t i = 0; i < sizeof other_keys / sizeof *other_keys; i++) known |= !strcmp(key, other_keys[i]);
        if (!known) return swan_api_fail(e, 400, "unknown_parameter", key, "%s: this server has no such parameter", key);
    }
    return true;
}

/* A string or number as text in buf; false (and an error) for other values. *text NULL: not given. Long strings are not copied. */
static bool field_text(const json_t *fields, const char *key, char buf[48], const char **text, swan_api_error *e)
{
    const json_t *value = json_object_get(fields, key);
    *text = NULL;
    if (!value || json_is_null(value)) return true;
    if (json_is_string(value)) {
        *text = json_string_value(value);
        if (strlen(*text) != json_string_length(value)) return swan_api_fail(e, 400, "invalid_value", key, "%s: has a zero byte", key);
        return true;
    }
    if (json_is_integer(value)) snprintf(buf, 48, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value)) snprintf(buf, 48, "%.9g", json_real_value(value));
    else return swan_api_fail(e, 400, "invalid_type", key, "%s: wanted a string or a number", key);
    *text = buf;
    return true;
}

static size_t characters(const char *utf8)
{
    size_t n = 0;
    for (; *utf8; utf8++) n += ((unsigned char)*utf8 & 0xc0) != 0x80;
    return n;
}

static bool take_text(const json_t *fields, const char *key, int max, const char **text, swan_api_error *e)
{
    const json_t *value = json_object_get(fields, key);
    char unused[48];
    if (value && !json_is_null(value) && !json_is_string(value)) return swan_api_fail(e, 400, "invalid_type", key, "%s: wanted a string", key);
    if (!field_text(fields, key, unused, text, e)) return false;
    if (*text && characters(*text) > (size_t)max)
        return swan_api_fail(e, 400, "string_too_long", key, "%s: at most %d characters, found %zu", key, max, characters(*text));
    return true;
}

static bool take_prompt(const json_t *fields, const swan_api_limits *limits, const char **prompt, swan_api_error *e)
{
    if (!take_text(fields, "prompt", limits->prompt_max, prompt, e)) return false;
    if (!*prompt || (*prompt)[strspn(*prompt, " \t\r\n")] == 0) return swan_api_fail(e, 400, "missing_parameter", "prompt", "prompt: wanted, and not empty");
    return true;
}

/* Sets one option; the library's words are the error. */
static bool set_option(swan_params *params, const char *key, const char *value, swan_api_error *e)
{
    if (!swan_params_set(params, key, value)) return true;
    return swan_api_fail(e, 400, "invalid_value", key, "%s", swan_last_error());
}

static bool set_fields(const json_t *fields, swan_params *params, swan_api_error *e)
{
    for (int i = 0; i < SETTING_KEYS; i++) {
        char buf[48];
        const char *text;
        if (!field_text(fields, setting_keys[i], buf, &text, e)) return false;
        if (text && !set_option(params, setting_keys[i], text, e)) return false;
    }
    return true;
}

/* width and height are another spelling of size. */
static bool set_width_height(const json_t *fields, swan_params *params, swan_api_error *e)
{
    char buffer[2][48], size[100];
    const char *width, *height;
    if (!field_text(fields, "width", buffer[0], &width, e) || !field_text(fields, "height", buffer[1], &height, e)) return false;
    if (!width && !height) return true;
    if (!width || !height) return swan_api_fail(e, 400, "invalid_value", width ? "height" : "width", "width and height: wanted both");
    if (swan_params_get(params, "size")[0]) return swan_api_fail(e, 400, "invalid_value", "size", "size, and width and height: give one of them");
    if (strlen(width) > 9 || strspn(width, "0123456789") != strlen(width)) return swan_api_fail(e, 400, "invalid_value", "width", "width: wanted an integer");
    if (strlen(height) > 9 || strspn(height, "0123456789") != strlen(height)) return swan_api_fail(e, 400, "invalid_value", "height", "height: wanted an integer");
    snprintf(size, sizeof size, "%sx%s", width, height);
    return set_option(params, "size", size, e);
}

/* seconds become 4 round(seconds fps / 4) + 1 frames. */
static bool set_seconds(const json_t *fields, swan_params *params, int fps, swan_api_error *e)
{
    char buf[48], frames[32], *end;
    const char *text;
    if (!field_text(fields, "seconds", buf, &text, e) || !text) return e->status == 0;
    if (swan_params_get(params, "num_frames")[0])
        return swan_api_fail(e, 400, "invalid_value", "seconds", "seconds and num_frames: give one of them");
    double seconds = strtod(text, &end);
    bool decimal = *text && strspn(text, "0123456789.") == strlen(text) && !*end;
    if (!decimal || !(seconds > 0) || seconds > 3600)
        return swan_api_fail(e, 400, "invalid_value", "seconds", "seconds: wanted a number above 0, at most 3600, found \"%.40s\"", text);
    snprintf(frames, sizeof frames, "%d", 4 * (int)floor(seconds * fps / 4 + 0.5) + 1);
    if (swan_params_set(params, "num_frames", frames))
        return swan_api_fail(e, 400, "invalid_value", "seconds", "seconds: at %d frames a second these are %s frames, too many", fps, frames);
    return true;
}

static int get_int(swan_params *params, const char *key, int otherwise)
{
    const char *text = swan_params_get(params, key);
    return text && text[0] ? (int)strtol(text, NULL, 10) : otherwise;
}

static double get_number(swan_params *params, const char *key, double otherwise)
{
    const char *text = swan_params_get(params, key);
    return text && text[0] ? strtod(text, NULL) : otherwise;
}

static bool random_seed(uint32_t *seed)
{
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && read(fd, seed, sizeof *seed) == (ssize_t)sizeof *seed;
    if (fd >= 0) close(fd);
    return ok;
}

/* The values that a run with these settings uses. */
static bool check_limits(const json_t *settings, const swan_api_limits *limits, swan_api_error *e)
{
    int64_t width = json_integer_value(json_object_get(settings, "width")), height = json_integer_value(json_object_get(settings, "height"));
    int64_t frames = json_integer_value(json_object_get(settings, "num_frames")), steps = json_integer_value(json_object_get(settings, "num_inference_steps"));
    if (width % SIZE_STEP || height % SIZE_STEP)
        return swan_api_fail(e, 400, "invalid_value", "size", "size: wanted multiples of %d, found %lldx%lld", SIZE_STEP, (long long)width, (long long)height);
    if (width * height * frames > limits->pixels_max)
        return swan_api_fail(e, 400, "too_large", "size", "size x num_frames: %lldx%lld with %lld frames are %lld pixels; this server makes at most %lld",
                             (long long)width, (long long)height, (long long)frames, (long long)(width * height * frames), (long long)limits->pixels_max);
    if (steps > limits->steps_max)
        return swan_api_fail(e, 400, "too_large", "num_inference_steps", "num_inference_steps: this server makes at most %d, found %lld", limits->steps_max, (long long)steps);
    return true;
}

/* To the nearest 4n + 1, the smaller of two, as a session does. */
static int whole_frames(int n)
{
    int frames = (n - 1) / 4 * 4 + 1;
    return n - frames > 2 ? frames + 4 : frames;
}

static json_t *effective(swan_params *params, const swan_api_model *model, int64_t seed, const char *negative)
{
    int width = model->width, height = model->height;
    const char *size = swan_params_get(params, "size");
    if (size[0] && sscanf(size, "%dx%d", &width, &height) != 2) return NULL;
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:I, s:s}", "width", width, "height", height, "num_frames",
                     whole_frames(get_int(params, "num_frames", model->frames)), "fps", get_int(params, "fps", model->fps),
                     "num_inference_steps", get_int(params, "num_inference_steps", model->steps), "flow_shift",
                     get_number(params, "flow_shift", model->shift), "guidance_scale", get_number(params, "guidance_scale", model->guidance),
                     "seed", (json_int_t)seed, "negative_prompt", negative ? negative : "");
}

static bool fill_job(swan_job *job, const char *model, const char *prompt, char *settings, const char *source, swan_api_error *e)
{
    *job = (swan_job){.model = strdup(model), .prompt = strdup(prompt), .settings = settings, .remixed_from = source ? strdup(source) : NULL};
    if (job->model && job->prompt && job->settings && (!source || job->remixed_from)) return true;
    swan_job_free(job);
    return swan_api_fail(e, 500, "out_of_memory", NULL, "out of memory");
}

static bool make_settings(const json_t *fields, const swan_api_model *model, const swan_api_limits *limits, swan_params *params, char **text,
                          swan_api_error *e)
{
    const char *negative;
    *text = NULL;
    if (!take_text(fields, "negative_prompt", limits->prompt_max, &negative, e)) return false;
    if (!set_fields(fields, params, e) || !set_width_height(fields, params, e)) return false;
    if (!set_seconds(fields, params, get_int(params, "fps", model->fps), e)) return false;
    long long seed = strtoll(swan_params_get(params, "seed"), NULL, 10);
    uint32_t drawn = 0;
    if (seed < 0 && !random_seed(&drawn)) return swan_api_fail(e, 500, "no_randomness", "seed", "seed: none could be drawn");
    json_t *settings = effective(params, model, seed < 0 ? drawn : seed, negative);
    bool ok = settings && check_limits(settings, limits, e);
    if (ok) *text = json_dumps(settings, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (!e->status && !*text) swan_api_fail(e, 500, "out_of_memory", NULL, "out of memory");
    json_decref(settings);
    return *text != NULL;
}

bool swan_api_create(const json_t *fields, const swan_api_model *model, const swan_api_limits *limits, swan_job *job, swan_api_error *e)
{
    const char *prompt, *name;
    char *settings = NULL;
    *job = (swan_job){0};
    *e = (swan_api_error){0};
    if (!json_is_object(fields)) return swan_api_fail(e, 400, "invalid_type", NULL, "the body: wanted a JSON object");
    const json_t *image = json_object_get(fields, "input_reference");
    if (image && !json_is_null(image))
        return swan_api_fail(e, 400, "unsupported_parameter", "input_reference", "input_reference: images are not supported yet; this server makes videos from text");
    if (!check_names(fields, e) || !take_prompt(fields, limits, &prompt, e) || !take_text(fields, "model", 256, &name, e)) return false;
    if (name && !swan_api_model_is(model, name))
        return swan_api_fail(e, 404, "model_not_found", "model", "model: this server has \"%s\", not \"%.100s\"", model->name, name);
    swan_params *params;
    if (swan_params_new(&params)) return swan_api_fail(e, 500, "out_of_memory", NULL, "out of memory");
    bool ok = make_settings(fields, model, limits, params, &settings, e);
    swan_params_free(params);
    return ok && fill_job(job, model->name, prompt, settings, NULL, e);
}

bool swan_api_remix(const json_t *fields, const swan_job *source, const swan_api_limits *limits, swan_job *job, swan_api_error *e)
{
    const char *prompt, *key;
    json_t *value;
    *job = (swan_job){0};
    *e = (swan_api_error){0};
    if (!json_is_object(fields)) return swan_api_fail(e, 400, "invalid_type", NULL, "the body: wanted a JSON object");
    json_object_foreach((json_t *)(uintptr_t)fields, key, value)
    {
        if (strcmp(key, "prompt") != 0)
            return swan_api_fail(e, 400, "unknown_parameter", key, "%s: a remix takes a prompt alone; the rest is the source's", key);
    }
    if (!take_prompt(fields, limits, &prompt, e)) return false;
    json_t *settings = json_loads(source->settings, 0, NULL);
    bool ok = check_limits(settings, limits, e); /* they may be lower than when the source was made */
    json_decref(settings);
    return ok && fill_job(job, source->model, prompt, strdup(source->settings), source->id, e);
}

/* ---- objects ---- */

static json_t *time_or_null(int64_t t) { return t ? json_integer(t) : json_null(); }

static void add_settings(json_t *o, const char *text)
{
    json_t *settings = json_loads(text ? text : "{}", 0, NULL);
    char buf[64];
    long long width = json_integer_value(json_object_get(settings, "width")), height = json_integer_value(json_object_get(settings, "height"));
    long long frames = json_integer_value(json_object_get(settings, "num_frames")), fps = json_integer_value(json_object_get(settings, "fps"));
    snprintf(buf, sizeof buf, "%lldx%lld", width, height);
    json_object_set_new(o, "size", json_string(buf));
    snprintf(buf, sizeof buf, "%.6g", fps > 0 && frames > 0 ? (double)(frames - 1) / (double)fps : 0.0);
    json_object_set_new(o, "seconds", json_string(buf));
    json_object_del(settings, "width");
    json_object_del(settings, "height");
    json_object_update(o, settings);
    json_decref(settings);
}

json_t *swan_api_video(const swan_job *job, const swan_api_live *live)
{
    bool running = job->state == SWAN_JOB_IN_PROGRESS, failed = job->state == SWAN_JOB_FAILED || job->state == SWAN_JOB_CANCELLED;
    int progress = job->state == SWAN_JOB_COMPLETED ? 100 : running && live && live->phase ? live->progress : 0;
    json_t *error = failed ? json_pack("{s:s?, s:o}", "code", job->error_code, "message", safe_string(job->error_message ? job->error_message : ""))
                           : json_null();
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:i, s:I, s:o, s:o, s:o, s:s, s:s?, s:o, s:i}", "id", job->id, "object", "video", "model", job->model,
                          "status", swan_job_state_name(job->state), "progress", progress, "created_at", (json_int_t)job->created_at, "started_at",
                          time_or_null(job->started_at), "completed_at", time_or_null(job->completed_at), "expires_at",
                          time_or_null(job->expires_at), "prompt", job->prompt, "remixed_from_video_id", job->remixed_from, "error", error,
                          "attempt", job->attempt);
    if (!o) return NULL;
    add_settings(o, job->settings);
    if (running && live && live->phase) {
        json_object_set_new(o, "phase", json_string(live->phase));
        json_object_set_new(o, "step", json_integer(live->step));
        json_object_set_new(o, "steps", json_integer(live->steps));
        if (live->remaining_s >= 0) json_object_set_new(o, "remaining_s", json_real(round(live->remaining_s * 10) / 10));
    }
    if (job->state == SWAN_JOB_QUEUED && live && live->ahead >= 0) json_object_set_new(o, "queue_position", json_integer(live->ahead + 1));
    if (job->state == SWAN_JOB_COMPLETED) {
        json_object_set_new(o, "bytes", json_integer((json_int_t)job->bytes));
        json_object_set_new(o, "inference_time_s", json_real(round(job->seconds * 1000) / 1000));
    }
    return o;
}

char *swan_api_settled(const char *asked, const json_t *recipe)
{
    static const char *const keys[] = {"width", "height", "num_frames", "fps", "num_inference_steps", "flow_shift", "guidance_scale", "seed",
                                       "sampler", "attention", "vsa_sparsity", "precision"};
    json_t *settings = json_loads(asked, 0, NULL);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        json_t *value = json_object_get(recipe, keys[i]);
        if (value) json_object_set(settings, keys[i], value);
    }
    char *text = settings ? json_dumps(settings, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(settings);
    return text;
}

int swan_api_poll_ms(const swan_job *job, const swan_api_live *live)
{
    if (swan_job_is_over(job)) return 0;
    double ms = job->state == SWAN_JOB_IN_PROGRESS && live && live->phase && live->remaining_s >= 0 ? live->remaining_s * 250 : 500;
    return ms < 100 ? 100 : ms > 2000 ? 2000 : (int)ms;
}
