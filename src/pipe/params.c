#include "pipe/params.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

/* ---- the table ---- */

typedef enum option_type { TYPE_STRING, TYPE_INT, TYPE_NUMBER, TYPE_CHOICE, TYPE_SIZE, TYPE_SEED, TYPE_BYTES, TYPE_ON, TYPE_OFF } option_type;

typedef struct option_row {
    swan_option option;
    option_type type;
    size_t offset;
    double min, max;     /* INT, NUMBER; a switch of CHOICE type sets min */
    const char *choices; /* "a|b|c": the value is the index plus min */
} option_row;

#define AT(member) offsetof(struct swan_params, member)
#define MODEL SWAN_GROUP_MODEL
#define VIDEO SWAN_GROUP_VIDEO
#define OUTPUT SWAN_GROUP_OUTPUT

static const option_row table[] = {
    {{"model", "--model", 'm', "DIR", NULL, "model directory in the Diffusers layout [the built-in tinyworld]", MODEL}, TYPE_STRING, AT(model), 0, 0, NULL},
    {{"transformer", "--transformer", 0, "FILE", NULL, "transformer weights (.safetensors) to use instead of the model's own", MODEL}, TYPE_STRING, AT(transformer), 0, 0, NULL},
    {{"taehv", "--taehv", 0, "FILE", NULL, "TAEHV decoder weights (.safetensors)", MODEL}, TYPE_STRING, AT(taehv), 0, 0, NULL},
    {{"weights", "--weights", 0, "NAME", "files", "files, or random: made-up ones for a published size, such as -m wan2.1-1.3b", MODEL}, TYPE_CHOICE, AT(weights), 0, 0, "files|random"},
    {{"device", "--device", 0, "NAME", "auto", "where to run: auto (a GPU if there is one), cpu, cuda or cuda:N; see swan --list-devices", MODEL}, TYPE_STRING, AT(device), 0, 0, NULL},
    {{"graphs", "--graphs", 0, "on|off", "on", "on a GPU: capture denoising once and launch it again; off: kernel by kernel, the same bits", MODEL}, TYPE_CHOICE, AT(graphs), 0, 0, "on|off"},
    {{"vram", "--vram", 0, "BYTES", NULL, "memory of a GPU to use at most, such as 8G; what does not fit is streamed [what is free]", MODEL}, TYPE_BYTES, AT(vram), 0, 0, NULL},
    {{"threads", "--threads", 't', "N", "0", "threads on the CPU; 0: one per core", MODEL}, TYPE_INT, AT(threads), 0, 1024, NULL},
    {{"precision", "--precision", 0, "NAME", "auto", "auto, exact (fp32 everywhere) or parity-bf16 (the reference's roundings)", MODEL}, TYPE_CHOICE, AT(precision), 0, 0, "auto|exact|parity-bf16"},
    {{"exact", "--exact", 0, NULL, NULL, "the same as --precision exact", MODEL}, TYPE_ON, AT(precision), SWAN_PRECISION_EXACT, 0, NULL},
    {{"parity_bf16", "--parity-bf16", 0, NULL, NULL, "the same as --precision parity-bf16", MODEL}, TYPE_ON, AT(precision), SWAN_PRECISION_PARITY_BF16, 0, NULL},
    {{"kernels", "--kernels", 0, "LIST", NULL, "kernels to use, as slot=variant,... (see: swan kernels)", MODEL}, TYPE_STRING, AT(kernels), 0, 0, NULL},

    {{"prompt", "--prompt", 'p', "TEXT", NULL, "what to show; also the first argument without a flag", VIDEO}, TYPE_STRING, AT(prompt), 0, 0, NULL},
    {{"negative_prompt", "--negative-prompt", 'n', "TEXT", "", "what to avoid; only used with guidance above 1", VIDEO}, TYPE_STRING, AT(negative_prompt), 0, 0, NULL},
    {{"size", "--size", 0, "WxH", NULL, "width and height in pixels, multiples of 16 [the model's]", VIDEO}, TYPE_SIZE, AT(width), 16, 16384, NULL},
    {{"num_frames", "--frames", 'f', "N", NULL, "number of frames, 4n+1 [the model's]", VIDEO}, TYPE_INT, AT(frames), 1, 4097, NULL},
    {{"fps", "--fps", 0, "N", NULL, "frames per second of the file [the model's]", VIDEO}, TYPE_INT, AT(fps), 1, 240, NULL},
    {{"seed", "--seed", 's', "N", "-1", "seed of the noise, 0..4294967295; -1: random, and printed", VIDEO}, TYPE_SEED, AT(seed), 0, 0, NULL},
    {{"num_inference_steps", "--steps", 0, "N", NULL, "denoising steps [the recipe's]", VIDEO}, TYPE_INT, AT(steps), 1, SWAN_SCHED_MAX_STEPS, NULL},
    {{"sampler", "--sampler", 0, "NAME", NULL, "dmd, unipc or euler [the recipe's]", VIDEO}, TYPE_CHOICE, AT(sampler), 0, 0, "dmd|unipc|euler"},
    {{"sigma_grid", "--sigma-grid", 0, "NAME", NULL, "default, diffusers, original, fastvideo or flow-match [the recipe's]", VIDEO}, TYPE_CHOICE, AT(grid), 0, 0, "default|diffusers|original|fastvideo|flow-match"},
    {{"flow_shift", "--shift", 0, "X", NULL, "shift of the noise levels [the recipe's]", VIDEO}, TYPE_NUMBER, AT(shift), 0.01, 100, NULL},
    {{"guidance_scale", "--guidance", 'g', "X", NULL, "classifier-free guidance; 1: none [the recipe's]", VIDEO}, TYPE_NUMBER, AT(guidance), 0, 100, NULL},
    {{"attention", "--attention", 0, "NAME", "auto", "auto, vsa, or dense (all tiles; trained gates are kept)", VIDEO}, TYPE_CHOICE, AT(attention), 0, 0, "auto|dense|vsa"},
    {{"vsa_sparsity", "--vsa-sparsity", 0, "X", NULL, "share of tiles that sparse attention leaves out [the recipe's]", VIDEO}, TYPE_NUMBER, AT(sparsity), 0, 1, NULL},
    {{"noise", "--noise", 0, "FILE", NULL, "initial noise from a .npy file, f32 [16, T, H/8, W/8]", VIDEO}, TYPE_STRING, AT(noise), 0, 0, NULL},

    {{"output", "--output", 'o', "FILE", NULL, "the video to write (.mp4)", OUTPUT}, TYPE_STRING, AT(output), 0, 0, NULL},
    {{"dump", "--dump", 0, "DIR", NULL, "write every intermediate result as .npy files", OUTPUT}, TYPE_STRING, AT(dump), 0, 0, NULL},
    {{"trace", "--trace", 0, "FILE", NULL, "write every kernel call with its time and value range, as tab-separated text", OUTPUT}, TYPE_STRING, AT(trace), 0, 0, NULL},
    {{"encoder", "--encoder", 0, "NAME", NULL, "H.264 encoder, by its name in libav [the first available]", OUTPUT}, TYPE_STRING, AT(encoder), 0, 0, NULL},
    {{"preset", "--preset", 0, "NAME", NULL, "speed preset of the encoder", OUTPUT}, TYPE_STRING, AT(preset), 0, 0, NULL},
    {{"quality", "--quality", 0, "N", "18", "rate factor of the encoder, 1 (best) to 51", OUTPUT}, TYPE_INT, AT(quality), 1, 51, NULL},
    {{"no_metadata", "--no-metadata", 0, NULL, NULL, "leave the recipe out of the file", OUTPUT}, TYPE_OFF, AT(metadata), 0, 0, NULL},
};
#define ROWS (sizeof table / sizeof table[0])

const swan_option *swan_option_at(size_t i)
{
    if (i >= ROWS) return NULL;
    return &table[i].option;
}

static const option_row *find_row(const char *key)
{
    for (size_t i = 0; i < ROWS; i++)
        if (!strcmp(table[i].option.key, key)) return &table[i];
    return NULL;
}

/* ---- life ---- */

swan_status swan_params_new(swan_params **out)
{
    *out = NULL;
    swan_params *p = calloc(1, sizeof *p);
    if (!p) return SWAN_FAIL(SWAN_E_NOMEM, "settings: out of memory");
    p->width = p->height = p->frames = p->fps = p->steps = p->sampler = p->grid = SWAN_UNSET_INT;
    p->shift = p->guidance = p->sparsity = SWAN_UNSET_NUMBER;
    p->seed = -1;
    p->quality = 18;
    p->metadata = true;
    *out = p;
    return SWAN_OK;
}

void swan_params_free(swan_params *p)
{
    if (!p) return;
    for (size_t i = 0; i < ROWS; i++)
        if (table[i].type == TYPE_STRING) free(*(char **)(void *)((char *)p + table[i].offset));
    free(p->text);
    free(p);
}

swan_status swan_params_copy(const swan_params *from, swan_params **out)
{
    SWAN_TRY(swan_params_new(out));
    swan_params *p = *out;
    *p = *from;
    p->text = NULL;
    bool lost = false;
    for (size_t i = 0; i < ROWS; i++) {
        if (table[i].type != TYPE_STRING) continue;
        char **at = (char **)(void *)((char *)p + table[i].offset);
        if (*at && !(*at = strdup(*at))) lost = true;
    }
    if (!lost) return SWAN_OK;
    swan_params_free(p);
    *out = NULL;
    return SWAN_FAIL(SWAN_E_NOMEM, "settings: out of memory");
}

/* ---- set ---- */

static swan_status bad(const option_row *row, const char *wanted, const char *value)
{
    return SWAN_FAIL(SWAN_E_INVALID, "%s: wanted %s, found \"%s\"", row->option.key, wanted, value);
}

static swan_status parse_number(const option_row *row, const char *value, bool integer, double *out)
{
    char wanted[64], *end;
    snprintf(wanted, sizeof wanted, "%s from %.9g to %.9g", integer ? "an integer" : "a number", row->min, row->max);
    errno = 0;
    double x = strtod(value, &end);
    bool decimal = value[0] && strspn(value, integer ? "+-0123456789" : "+-.eE0123456789") == strlen(value);
    if (!decimal || *end || errno || !isfinite(x) || x < row->min || x > row->max) return bad(row, wanted, value);
    *out = x;
    return SWAN_OK;
}

static swan_status parse_choice(const option_row *row, const char *value, int *out)
{
    size_t n = strlen(value);
    int index = 0;
    for (const char *at = row->choices;; index++) {
        size_t length = strcspn(at, "|");
        if (length == n && !memcmp(at, value, n)) break;
        if (!at[length]) return bad(row, row->choices, value);
        at += length + 1;
    }
    *out = index;
    return SWAN_OK;
}

/* "832x480", also with '*' or 'X'. */
static swan_status parse_size(const option_row *row, const char *value, int *width, int *height)
{
    size_t first = strspn(value, "0123456789"), second = first < strlen(value) ? strspn(value + first + 1, "0123456789") : 0;
    if (!first || first > 6 || !second || second > 6 || !strchr("xX*", value[first]) || value[first + 1 + second])
        return bad(row, "WxH, such as 832x480", value);
    long w = strtol(value, NULL, 10), h = strtol(value + first + 1, NULL, 10);
    if (w < row->min || h < row->min || w > row->max || h > row->max) return bad(row, "16 to 16384 pixels each way", value);
    *width = (int)w;
    *height = (int)h;
    return SWAN_OK;
}

static swan_status parse_seed(const option_row *row, const char *value, int64_t *out)
{
    const char *wanted = "an integer from 0 to 4294967295, or -1 for a random one";
    size_t digits = strspn(value, "0123456789");
    if (!strcmp(value, "-1")) {
        *out = -1;
        return SWAN_OK;
    }
    if (!digits || digits > 10 || value[digits]) return bad(row, wanted, value);
    long long x = strtoll(value, NULL, 10);
    if (x > 4294967295LL) return bad(row, wanted, value);
    *out = x;
    return SWAN_OK;
}

/* "8G", "7.5G", "800M": powers of 1024; without a letter, bytes. */
static swan_status parse_bytes(const option_row *row, const char *value, int64_t *out)
{
    static const char units[] = "KMGT";
    const char *wanted = "a number of bytes, such as 800M or 8G";
    size_t digits = strspn(value, "0123456789.");
    const char *unit = value[digits] ? strchr(units, value[digits]) : NULL;
    if (!digits || digits > 16 || (value[digits] && (!unit || value[digits + 1]))) return bad(row, wanted, value);
    char *end;
    double x = strtod(value, &end);
    if (end != value + digits) return bad(row, wanted, value);
    for (ptrdiff_t i = unit ? unit - units + 1 : 0; i > 0; i--) x *= 1024;
    if (!(x < 0x1p50)) return bad(row, wanted, value);
    *out = (int64_t)x;
    return SWAN_OK;
}

static swan_status parse_switch(const option_row *row, const char *value, bool *on)
{
    *on = !strcmp(value, "true") || !strcmp(value, "1");
    if (*on || !strcmp(value, "false") || !strcmp(value, "0")) return SWAN_OK;
    return bad(row, "true or false", value);
}

swan_status swan_params_set(swan_params *p, const char *key, const char *value)
{
    const option_row *row = find_row(key);
    if (!row) return SWAN_FAIL(SWAN_E_INVALID, "there is no option \"%s\"", key);
    void *at = (char *)p + row->offset;
    double number = 0;
    bool on = false;
    switch (row->type) {
    case TYPE_STRING: {
        char *copy = strdup(value);
        if (!copy) return SWAN_FAIL(SWAN_E_NOMEM, "settings: out of memory");
        free(*(char **)at);
        *(char **)at = copy;
        return SWAN_OK;
    }
    case TYPE_INT:
        SWAN_TRY(parse_number(row, value, true, &number));
        *(int *)at = (int)number;
        return SWAN_OK;
    case TYPE_NUMBER: return parse_number(row, value, false, at);
    case TYPE_CHOICE: return parse_choice(row, value, at);
    case TYPE_SIZE: return parse_size(row, value, &p->width, &p->height);
    case TYPE_SEED: return parse_seed(row, value, at);
    case TYPE_BYTES: return parse_bytes(row, value, at);
    case TYPE_ON:
        SWAN_TRY(parse_switch(row, value, &on));
        if (on) *(int *)at = (int)row->min;
        else if (*(int *)at == (int)row->min) *(int *)at = 0;
        return SWAN_OK;
    case TYPE_OFF:
        SWAN_TRY(parse_switch(row, value, &on));
        *(bool *)at = !on;
        return SWAN_OK;
    }
    return SWAN_BUG("option %s has no type", key);
}

/* ---- get ---- */

static void print_value(const swan_params *p, const option_row *row, char *buf, size_t n)
{
    const void *at = (const char *)p + row->offset;
    buf[0] = 0;
    switch (row->type) {
    case TYPE_STRING: break; /* handled by the caller: no limit on length */
    case TYPE_INT:
        if (*(const int *)at != SWAN_UNSET_INT) snprintf(buf, n, "%d", *(const int *)at);
        break;
    case TYPE_NUMBER:
        if (*(const double *)at >= 0) snprintf(buf, n, "%.9g", *(const double *)at);
        break;
    case TYPE_CHOICE: {
        const char *choice = row->choices;
        for (int i = 0; i < *(const int *)at; i++) choice += strcspn(choice, "|") + 1;
        if (*(const int *)at >= 0) snprintf(buf, n, "%.*s", (int)strcspn(choice, "|"), choice);
        break;
    }
    case TYPE_SIZE:
        if (p->width > 0) snprintf(buf, n, "%dx%d", p->width, p->height);
        break;
    case TYPE_BYTES:
        if (*(const int64_t *)at) snprintf(buf, n, "%lld", (long long)*(const int64_t *)at);
        break;
    case TYPE_SEED: snprintf(buf, n, "%lld", (long long)*(const int64_t *)at); break;
    case TYPE_ON: snprintf(buf, n, "%s", *(const int *)at == (int)row->min ? "true" : "false"); break;
    case TYPE_OFF: snprintf(buf, n, "%s", *(const bool *)at ? "false" : "true"); break;
    }
}

const char *swan_params_get(swan_params *p, const char *key)
{
    const option_row *row = find_row(key);
    if (!row) return NULL;
    if (row->type == TYPE_STRING) {
        const char *value = *(char **)(void *)((char *)p + row->offset);
        return value ? value : "";
    }
    if (!p->text && !(p->text = malloc(64))) return "";
    print_value(p, row, p->text, 64);
    return p->text;
}
