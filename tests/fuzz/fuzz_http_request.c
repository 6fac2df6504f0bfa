/* What clients send, of any bytes: the first one picks the parser. What is let through keeps the server's limits. */
#include <string.h>

#include "fuzz.h"
#include "server/api.h"
#include "server/form.h"
#include "server/guard.h"
#include "server/range.h"

static const swan_api_model model = {.name = "tiny", .aliases = "other", .width = 832, .height = 480, .frames = 81, .fps = 16, .steps = 3,
                                     .shift = 8, .guidance = 1};
static const swan_api_limits limits = {.prompt_max = 100, .pixels_max = 832 * 480 * 81, .steps_max = 50};

static json_int_t setting(const json_t *settings, const char *key) { return json_integer_value(json_object_get(settings, key)); }

/* A job that was accepted can be made, shown and remixed. */
static void check_job(const json_t *fields, swan_job *job)
{
    json_t *settings = json_loads(job->settings, 0, NULL);
    swan_job again;
    swan_api_error e;
    json_int_t width = setting(settings, "width"), height = setting(settings, "height"), frames = setting(settings, "num_frames");
    FUZZ_CHECK(settings && width >= 16 && width % 16 == 0 && height >= 16 && height % 16 == 0 && frames >= 1 && frames % 4 == 1);
    FUZZ_CHECK(width * height * frames <= limits.pixels_max && setting(settings, "num_inference_steps") <= limits.steps_max);
    FUZZ_CHECK(setting(settings, "seed") >= 0 && setting(settings, "seed") <= UINT32_MAX && setting(settings, "fps") >= 1);
    FUZZ_CHECK(strlen(job->prompt) <= 4u * (size_t)limits.prompt_max);
    json_t *o = swan_api_video(job, NULL);
    FUZZ_CHECK(o);
    json_decref(o);
    json_decref(settings);
    if (swan_api_remix(fields, job, &limits, &again, &e)) swan_job_free(&again);
    swan_job_free(job);
}

static void check_fields(const json_t *fields)
{
    swan_job job;
    swan_api_error e;
    if (swan_api_create(fields, &model, &limits, &job, &e)) {
        check_job(fields, &job);
        return;
    }
    json_t *o = swan_api_error_json(&e);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    FUZZ_CHECK(text && e.status >= 400 && e.status < 500 && e.message[0] && !job.prompt);
    free(text);
    json_decref(o);
}

/* A zero-terminated header in front of a line break, and the rest behind it. */
static const char *header(char *text, char **rest)
{
    char *end = strchr(text, '\n');
    *rest = end ? end + 1 : text + strlen(text);
    if (end) *end = 0;
    return text;
}

static void fuzz_headers(char *text)
{
    static swan_guard g;
    char *rest, *more;
    const char *a = header(text, &rest), *b = header(rest, &more);
    swan_range r = swan_range_parse(a, 1000);
    FUZZ_CHECK(r.kind == SWAN_RANGE_UNSATISFIABLE || (r.length <= 1000 && r.first + r.length <= 1000));
    swan_range_etag_listed(a, "\"x\"");
    g = (swan_guard){.loopback = true, .origins = "https://a.example"};
    bool host = swan_guard_host_ok(&g, a);
    FUZZ_CHECK(!host || a[0] == 'l' || a[0] == 'L' || a[0] == '1' || a[0] == '[');
    swan_guard_origin_ok(&g, a, b, more);
    FUZZ_CHECK(!strcmp(b, "https://a.example") || !swan_guard_origin_named(&g, b) || strlen(b) == strlen("https://a.example"));
    if (swan_guard_add_keys(&g, "alpha,beta", "keys") == SWAN_OK) FUZZ_CHECK(!swan_guard_key_ok(&g, a) || strstr(a, "alpha") || strstr(a, "beta"));
    swan_guard_add_keys(&g, a, "keys");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) return 0;
    const char *bytes = (const char *)data + 1;
    json_t *fields = NULL;
    char *text = malloc(size), *rest;
    FUZZ_CHECK(text);
    memcpy(text, bytes, size - 1);
    text[size - 1] = 0;
    switch (data[0] % 4) {
    case 0: fields = json_loadb(bytes, size - 1, JSON_REJECT_DUPLICATES, NULL); break;
    case 1: fields = swan_form_parse("multipart/form-data; boundary=XX", bytes, size - 1); break;
    case 2: {
        const char *type = header(text, &rest);
        fields = swan_form_parse(type, rest, (size_t)(text + size - 1 - rest));
        break;
    }
    default: fuzz_headers(text);
    }
    if (fields) check_fields(fields);
    json_decref(fields);
    free(text);
    return 0;
}
