/* serve: flags become a server's configuration, and the options of the model the arguments of its workers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "cli/commands.h"
#include "server/server.h"

enum { ARGUMENTS_MAX = 32, ARGUMENT_BYTES = SWAN_PATH_MAX + 64 };

/* A number among the flags: where it goes, and what it may be. */
typedef struct number_flag {
    const char *flag, *value, *fallback, *help;
    double min, max;
    const char *text; /* as given */
    int64_t number;
} number_flag;

enum { PORT, QUEUE, ATTEMPTS, KEEP, STORED, FREE, PROMPT, PIXELS, STEPS, BODY, CONNECTIONS, REQUEST, STALL, GRACE, DRAIN, NUMBERS };
static const number_flag number_flags[NUMBERS] = {
    {"--port", "N", "7926", "port to listen on; 0: any that is free", 0, 65535, NULL, 0},
    {"--queue", "N", "32", "videos that may wait; more are refused (429)", 1, 100000, NULL, 0},
    {"--attempts", "N", "2", "how often a video is begun when the server ends while it is made", 1, 100, NULL, 0},
    {"--keep", "SECONDS", "86400", "how long results are kept; 0: for ever", 0, 1e10, NULL, 0},
    {"--max-stored", "BYTES", "10G", "finished videos above which none is accepted (507); 0: no limit", 0, 1e18, NULL, 0},
    {"--min-free", "BYTES", "64M", "room on the disk below which no video is accepted (507)", 0, 1e18, NULL, 0},
    {"--max-prompt", "N", "4096", "characters of a prompt", 1, 100000, NULL, 0},
    {"--max-pixels", "N", "111513600", "width x height x frames of a video", 256, 1e12, NULL, 0},
    {"--max-steps", "N", "100", "denoising steps of a video", 1, 1000, NULL, 0},
    {"--max-body", "BYTES", "1M", "size of a request", 1024, 1 << 30, NULL, 0},
    {"--connections", "N", "256", "connections at a time", 4, 60000, NULL, 0},
    {"--request-timeout", "SECONDS", "30", "for a request to arrive, from its first byte to its last", 1, 3600, NULL, 0},
    {"--stall-timeout", "SECONDS", "900", "a worker that says nothing for so long is replaced", 1, 1e6, NULL, 0},
    {"--cancel-grace", "SECONDS", "5", "for a worker to stop a cancelled video, before it is replaced", 0, 3600, NULL, 0},
    {"--drain", "SECONDS", "30", "for running videos to end, once the server is asked to", 0, 1e6, NULL, 0},
};

/* The other flags. */
typedef struct serve_flags {
    const char *host, *data, *api_key, *api_key_file, *allow_host, *cors_origin, *alias, *tls_cert, *tls_key;
    bool allow_no_key, metrics, quiet;
    number_flag number[NUMBERS];
    char help[NUMBERS][128];
} serve_flags;

/* Digits, and K, M, G or T after a number of bytes (powers of 1024). */
static swan_status parse_number(number_flag *f)
{
    const char *text = f->text ? f->text : f->fallback, *units = "KMGT", *unit = NULL;
    size_t digits = strspn(text, "0123456789");
    double x = digits && digits < 19 ? strtod(text, NULL) : -1;
    if (text[digits] && !strcmp(f->value, "BYTES")) unit = strchr(units, text[digits]);
    for (const char *u = units; unit && u <= unit; u++) x *= 1024;
    if (text[digits + (unit != NULL)] || x < f->min || x > f->max)
        return SWAN_FAIL(SWAN_E_INVALID, "%s: wanted a whole number from %.0f to %.0f, found \"%s\"", f->flag, f->min, f->max, text);
    f->number = (int64_t)x;
    return SWAN_OK;
}

/* ~/.local/share/swan, or where XDG says. */
static swan_status default_data(char *path)
{
    const char *base = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (base && base[0] == '/') return swan_path_join(base, "swan", path, SWAN_PATH_MAX);
    if (!home || home[0] != '/') return SWAN_FAIL(SWAN_E_INVALID, "--data: wanted, because HOME is not set");
    return swan_path_join(home, ".local/share/swan", path, SWAN_PATH_MAX);
}

static swan_status read_keys(const serve_flags *f, swan_guard *guard)
{
    if (f->api_key) SWAN_TRY(swan_guard_add_keys(guard, f->api_key, "--api-key"));
    if (!f->api_key_file) return SWAN_OK;
    char *text;
    size_t bytes;
    SWAN_TRY(swan_file_read(f->api_key_file, 65536, &text, &bytes));
    swan_status status = swan_guard_add_keys(guard, text, f->api_key_file);
    free(text);
    if (!status && !guard->key_count) status = SWAN_FAIL(SWAN_E_INVALID, "%s: holds no key", f->api_key_file);
    return status;
}

/* ---- the workers' arguments ---- */

typedef struct worker_arguments {
    const char *pointer[ARGUMENTS_MAX + 1];
    char *text[ARGUMENTS_MAX];
    int count;
} worker_arguments;

static swan_status add_argument(worker_arguments *a, const char *flag, const char *value, size_t length)
{
    if (a->count == ARGUMENTS_MAX) return SWAN_BUG("worker: more than %d arguments", ARGUMENTS_MAX);
    char *text = malloc(ARGUMENT_BYTES);
    if (!text) return SWAN_FAIL(SWAN_E_NOMEM, "worker: out of memory");
    int n = snprintf(text, ARGUMENT_BYTES, "%s%s%.*s", flag, value ? "=" : "", (int)length, value ? value : "");
    a->text[a->count] = text;
    a->pointer[a->count++] = text;
    return n < ARGUMENT_BYTES ? SWAN_OK : SWAN_FAIL(SWAN_E_INVALID, "%s: too long", flag);
}

/* The model's options as they were given, on this device. */
static swan_status fill_arguments(swan_params *params, const char *device, size_t length, worker_arguments *a)
{
    SWAN_TRY(add_argument(a, "swan", NULL, 0));
    SWAN_TRY(add_argument(a, "worker", NULL, 0));
    const swan_option *o;
    for (size_t i = 0; (o = swan_option_at(i)) != NULL; i++) {
        const char *value = swan_params_get(params, o->key);
        bool given = o->groups == SWAN_GROUP_MODEL && o->value && value[0] && (!o->fallback || strcmp(value, o->fallback) != 0);
        if (given && strcmp(o->key, "device") != 0) SWAN_TRY(add_argument(a, o->flag, value, strlen(value)));
    }
    return add_argument(a, "--device", device, length);
}

/* One worker for each name in --device. */
static swan_status fill_workers(swan_params *params, worker_arguments *a, swan_workers_config *out)
{
    char devices[256];
    snprintf(devices, sizeof devices, "%s", swan_params_get(params, "device"));
    if (!devices[0]) snprintf(devices, sizeof devices, "auto");
    for (const char *at = devices; *at; at += *at == ',') {
        size_t n = strcspn(at, ",");
        if (!n) return SWAN_FAIL(SWAN_E_INVALID, "--device: an empty name in \"%s\"", devices);
        if (out->count == SWAN_WORKERS_MAX) return SWAN_FAIL(SWAN_E_INVALID, "--device: at most %d names", SWAN_WORKERS_MAX);
        SWAN_TRY(fill_arguments(params, at, n, &a[out->count]));
        out->argument[out->count] = a[out->count].pointer;
        out->count++;
        at += n;
    }
    return SWAN_OK;
}

/* ---- the command ---- */

static void fill_config(const serve_flags *f, const char *data, swan_server_config *c)
{
    const number_flag *n = f->number;
    c->host = f->host ? f->host : "127.0.0.1";
    c->port = (int)n[PORT].number;
    c->allow_no_key = f->allow_no_key;
    c->guard.hosts = f->allow_host;
    c->guard.origins = f->cors_origin;
    c->tls_cert = f->tls_cert;
    c->tls_key = f->tls_key;
    c->jobs = (swan_jobs_config){.directory = data, .queue_max = (int)n[QUEUE].number, .attempts_max = (int)n[ATTEMPTS].number,
                                 .keep_s = n[KEEP].number, .stored_max = (uint64_t)n[STORED].number, .free_min = (uint64_t)n[FREE].number};
    c->workers.stall_s = (int)n[STALL].number;
    c->workers.grace_s = (int)n[GRACE].number;
    c->workers.aliases = f->alias;
    c->limits = (swan_api_limits){.prompt_max = (int)n[PROMPT].number, .pixels_max = n[PIXELS].number, .steps_max = (int)n[STEPS].number};
    c->body_max = n[BODY].number;
    c->connections_max = (int)n[CONNECTIONS].number;
    c->request_s = (int)n[REQUEST].number;
    c->drain_s = (int)n[DRAIN].number;
    c->metrics = f->metrics;
    c->quiet = f->quiet;
}

static swan_status serve(serve_flags *f, swan_params *params)
{
    char data[SWAN_PATH_MAX];
    swan_server_config config = {0};
    worker_arguments *arguments = calloc(SWAN_WORKERS_MAX, sizeof *arguments);
    swan_status status = arguments ? SWAN_OK : SWAN_FAIL(SWAN_E_NOMEM, "serve: out of memory");
    for (int i = 0; i < NUMBERS && !status; i++) status = parse_number(&f->number[i]);
    if (!status) status = read_keys(f, &config.guard);
    if (!status && !f->data) status = default_data(data);
    if (!status) status = fill_workers(params, arguments, &config.workers);
    if (!status) {
        fill_config(f, f->data ? f->data : data, &config);
        status = swan_server_run(&config);
    }
    for (int i = 0; arguments && i < SWAN_WORKERS_MAX; i++)
        for (int k = 0; k < arguments[i].count; k++) free(arguments[i].text[k]);
    free(arguments);
    return status;
}

int cmd_serve(const cli_command *command, int argc, char **argv)
{
    serve_flags f = {0};
    const cli_flag texts[] = {
        {"--host", "ADDRESS", "address to listen on, in numbers [127.0.0.1]", NULL, &f.host},
        {"--data", "DIR", "where jobs and videos are kept [~/.local/share/swan]", NULL, &f.data},
        {"--api-key", "KEYS", "keys that clients must show, separated by commas", NULL, &f.api_key},
        {"--api-key-file", "FILE", "the same from a file, one a line", NULL, &f.api_key_file},
        {"--allow-no-key", NULL, "let an address that others can reach do without a key", &f.allow_no_key, NULL},
        {"--allow-host", "NAMES", "further names that this server may be called by, separated by commas", NULL, &f.allow_host},
        {"--cors-origin", "ORIGINS", "sites whose pages may call this server, as https://a.example,...", NULL, &f.cors_origin},
        {"--alias", "NAMES", "further names of the model, separated by commas", NULL, &f.alias},
        {"--tls-cert", "FILE", "certificate chain (PEM): serve https", NULL, &f.tls_cert},
        {"--tls-key", "FILE", "its private key (PEM)", NULL, &f.tls_key},
        {"--metrics", NULL, "serve /metrics for Prometheus", &f.metrics, NULL},
        {"--quiet", NULL, "print nothing but errors", &f.quiet, NULL},
    };
    enum { TEXTS = sizeof texts / sizeof *texts };
    cli_flag flags[TEXTS + NUMBERS + 1] = {{0}};
    memcpy(flags, texts, sizeof texts);
    memcpy(f.number, number_flags, sizeof f.number);
    for (int i = 0; i < NUMBERS; i++) {
        snprintf(f.help[i], sizeof f.help[i], "%s [%s]", f.number[i].help, f.number[i].fallback);
        flags[TEXTS + i] = (cli_flag){f.number[i].flag, f.number[i].value, f.help[i], NULL, &f.number[i].text};
    }
    cli_args args;
    swan_status status = cli_parse(command, flags, argc, argv, &args);
    if (status || args.help) {
        int code = status ? cli_usage(command, status) : CLI_OK;
        cli_args_free(&args);
        return code;
    }
    status = serve(&f, args.params);
    cli_args_free(&args);
    return cli_fail(status);
}
