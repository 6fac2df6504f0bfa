/* JSON settings files (config.json, model_index.json, swan.json): one object, read with typed getters whose messages name the
 * file, the key, what was wanted and what was found. null counts as absent. */
#ifndef SWAN_CKPT_CONFIG_H
#define SWAN_CKPT_CONFIG_H

#include "base/status.h"

typedef struct swan_config swan_config;

/* Reads a file of at most 4 MiB. SWAN_E_NOT_FOUND, SWAN_E_IO, SWAN_E_FORMAT (too large, not JSON, a key twice, not an object),
 * SWAN_E_NOMEM. *out is NULL then. Owned by the caller. */
swan_status swan_config_open(const char *path, swan_config **out);
/* The same from memory; path is only for messages. */
swan_status swan_config_parse(const char *path, const char *text, size_t bytes, swan_config **out);
void swan_config_close(swan_config *cfg); /* NULL is fine; ends the strings that were handed out */
const char *swan_config_path(const swan_config *cfg);

/* Present and not null. */
bool swan_config_has(const swan_config *cfg, const char *key);

/* An absent key is SWAN_E_NOT_FOUND when REQUIRED; when OPTIONAL, SWAN_OK with *v (and *count) as the caller left it, which is
 * the place for the default. A value of the wrong type or out of range is SWAN_E_FORMAT in both cases, and *v untouched. */
typedef enum swan_need { SWAN_REQUIRED, SWAN_OPTIONAL } swan_need;

/* An integer in [min, max]. 30.0 is not one. */
swan_status swan_config_int(const swan_config *cfg, const char *key, int64_t min, int64_t max, swan_need need,
                            int64_t *v);
/* A finite number, integer or not, in [min, max]. */
swan_status swan_config_number(const swan_config *cfg, const char *key, double min, double max, swan_need need,
                               double *v);
swan_status swan_config_bool(const swan_config *cfg, const char *key, swan_need need, bool *v);
/* *v borrows from cfg. */
swan_status swan_config_string(const swan_config *cfg, const char *key, swan_need need, const char **v);

/* What a list of integers has to be: between least and most of them, each in [min, max]. */
typedef struct swan_config_list {
    int64_t min, max;
    int least, most;
} swan_config_list;
/* v holds want->most integers; *count says how many were read (may be NULL when least == most). */
swan_status swan_config_ints(const swan_config *cfg, const char *key, const swan_config_list *want, swan_need need,
                             int64_t *v, int *count);
/* Exactly n strings, such as ["diffusers", "WanTransformer3DModel"]. An element null gives NULL (model_index.json spells a
 * component that is not there [null, null]). */
swan_status swan_config_strings(const swan_config *cfg, const char *key, int n, swan_need need, const char **v);

#endif
