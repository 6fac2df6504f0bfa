#include "ckpt/config.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "ckpt/json.h"
#include "ckpt/say.h"

#define CONFIG_MAX ((size_t)4 << 20)

struct swan_config {
    json_t *root;
    char path[]; /* for messages */
};

/* ---- messages ------------------------------------------------------------------------------------------------------- */

/* The value in few words, for "found …". */
static swan_said describe(const json_t *value)
{
    swan_said said = {{0}};
    switch (json_typeof(value)) {
    case JSON_OBJECT: snprintf(said.text, sizeof said.text, "an object"); break;
    case JSON_ARRAY: snprintf(said.text, sizeof said.text, "a list of %zu", json_array_size(value)); break;
    case JSON_STRING: {
        swan_said text = swan_say(json_string_value(value));
        snprintf(said.text, sizeof said.text, "\"%.80s\"", text.text);
        break;
    }
    case JSON_INTEGER: snprintf(said.text, sizeof said.text, "%lld", (long long)json_integer_value(value)); break;
    case JSON_REAL: snprintf(said.text, sizeof said.text, "%.17g", json_real_value(value)); break;
    case JSON_TRUE: snprintf(said.text, sizeof said.text, "true"); break;
    case JSON_FALSE: snprintf(said.text, sizeof said.text, "false"); break;
    case JSON_NULL: snprintf(said.text, sizeof said.text, "null"); break;
    }
    return said;
}

static swan_status wrong(const swan_config *cfg, const char *key, const char *wanted, const json_t *found)
{
    return SWAN_FAIL(SWAN_E_FORMAT, "%s: %s: wanted %s, found %s", cfg->path, key, wanted, describe(found).text);
}

/* *value is NULL, with SWAN_OK, when the key is absent and may be. */
static swan_status get(const swan_config *cfg, const char *key, swan_need need, const json_t **value)
{
    const json_t *found = json_object_get(cfg->root, key);
    if (json_is_null(found)) found = NULL;
    *value = found;
    if (!found && need == SWAN_REQUIRED)
        return SWAN_FAIL(SWAN_E_NOT_FOUND, "%s: wanted the key \"%s\", not found", cfg->path, key);
    return SWAN_OK;
}

/* ---- open ----------------------------------------------------------------------------------------------------------- */

swan_status swan_config_parse(const char *path, const char *text, size_t bytes, swan_config **out)
{
    *out = NULL;
    if (bytes > CONFIG_MAX)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted at most %zu bytes, found %zu", path, CONFIG_MAX, bytes);
    json_t *root;
    SWAN_TRY(swan_json_parse(path, text, bytes, &root));
    size_t length = strlen(path) + 1;
    swan_config *cfg = malloc(sizeof *cfg + length);
    if (!cfg) {
        json_decref(root);
        return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", path);
    }
    cfg->root = root;
    memcpy(cfg->path, path, length);
    *out = cfg;
    return SWAN_OK;
}

swan_status swan_config_open(const char *path, swan_config **out)
{
    char *text;
    size_t bytes;
    *out = NULL;
    SWAN_TRY(swan_file_read(path, CONFIG_MAX, &text, &bytes));
    swan_status status = swan_config_parse(path, text, bytes, out);
    free(text);
    return status;
}

void swan_config_close(swan_config *cfg)
{
    if (!cfg) return;
    json_decref(cfg->root);
    free(cfg);
}

const char *swan_config_path(const swan_config *cfg) { return cfg->path; }

/* ---- values --------------------------------------------------------------------------------------------------------- */

bool swan_config_has(const swan_config *cfg, const char *key)
{
    const json_t *value = json_object_get(cfg->root, key);
    return value && !json_is_null(value);
}

static bool int_in(const json_t *value, int64_t min, int64_t max)
{
    return json_is_integer(value) && json_integer_value(value) >= min && json_integer_value(value) <= max;
}

swan_status swan_config_int(const swan_config *cfg, const char *key, int64_t min, int64_t max, swan_need need,
                            int64_t *v)
{
    const json_t *value;
    char wanted[80];
    SWAN_TRY(get(cfg, key, need, &value));
    if (!value) return SWAN_OK;
    if (!int_in(value, min, max)) {
        snprintf(wanted, sizeof wanted, "an integer from %lld to %lld", (long long)min, (long long)max);
        return wrong(cfg, key, wanted, value);
    }
    *v = json_integer_value(value);
    return SWAN_OK;
}

swan_status swan_config_number(const swan_config *cfg, const char *key, double min, double max, swan_need need,
                               double *v)
{
    const json_t *value;
    char wanted[80];
    SWAN_TRY(get(cfg, key, need, &value));
    if (!value) return SWAN_OK;
    double number = json_is_number(value) ? json_number_value(value) : NAN;
    if (!(number >= min && number <= max)) {
        snprintf(wanted, sizeof wanted, "a number from %g to %g", min, max);
        return wrong(cfg, key, wanted, value);
    }
    *v = number;
    return SWAN_OK;
}

swan_status swan_config_bool(const swan_config *cfg, const char *key, swan_need need, bool *v)
{
    const json_t *value;
    SWAN_TRY(get(cfg, key, need, &value));
    if (!value) return SWAN_OK;
    if (!json_is_boolean(value)) return wrong(cfg, key, "true or false", value);
    *v = json_is_true(value);
    return SWAN_OK;
}

swan_status swan_config_string(const swan_config *cfg, const char *key, swan_need need, const char **v)
{
    const json_t *value;
    SWAN_TRY(get(cfg, key, need, &value));
    if (!value) return SWAN_OK;
    if (!json_is_string(value)) return wrong(cfg, key, "a string", value);
    *v = json_string_value(value);
    return SWAN_OK;
}

swan_status swan_config_ints(const swan_config *cfg, const char *key, const swan_config_list *want, swan_need need,
                             int64_t *v, int *count)
{
    const json_t *value;
    char wanted[120], element[160];
    SWAN_TRY(get(cfg, key, need, &value));
    if (!value) return SWAN_OK;
    size_t n = json_array_size(value);
    int wrote = want->least == want->most
                    ? snprintf(wanted, sizeof wanted, "a list of %d", want->most)
                    : snprintf(wanted, sizeof wanted, "a list of %d to %d", want->least, want->most);
    snprintf(wanted + wrote, sizeof wanted - (size_t)wrote, " integers from %lld to %lld", (long long)want->min,
             (long long)want->max);
    if (!json_is_array(value) || n < (size_t)want->least || n > (size_t)want->most)
        return wrong(cfg, key, wanted, value);
    for (size_t i = 0; i < n; i++) {
        if (int_in(json_array_get(value, i), want->min, want->max)) continue;
        snprintf(element, sizeof element, "%.100s[%zu]", key, i);
        return wrong(cfg, element, wanted, json_array_get(value, i));
    }
    for (size_t i = 0; i < n; i++) v[i] = json_integer_value(json_array_get(value, i));
    if (count) *count = (int)n;
    return SWAN_OK;
}

swan_status swan_config_strings(const swan_config *cfg, const char *key, int n, swan_need need, const char **v)
{
    const json_t *value;
    char wanted[80];
    SWAN_TRY(get(cfg, key, need, &value));
    if (!value) return SWAN_OK;
    snprintf(wanted, sizeof wanted, "a list of %d strings", n);
    if (!json_is_array(value) || json_array_size(value) != (size_t)n) return wrong(cfg, key, wanted, value);
    for (int i = 0; i < n; i++) {
        const json_t *element = json_array_get(value, (size_t)i);
        if (!json_is_string(element) && !json_is_null(element)) return wrong(cfg, key, wanted, element);
    }
    for (int i = 0; i < n; i++) v[i] = json_string_value(json_array_get(value, (size_t)i));
    return SWAN_OK;
}
