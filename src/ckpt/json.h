/* JSON text from strangers: one object, no key twice. Internal to ckpt. */
#ifndef SWAN_CKPT_JSON_H
#define SWAN_CKPT_JSON_H

#include <jansson.h>

#include "base/status.h"

/* where goes before every message ("a.json", "model.safetensors: header"). SWAN_E_FORMAT or SWAN_E_NOMEM; *root is NULL then. */
swan_status swan_json_parse(const char *where, const char *text, size_t bytes, json_t **root);

#endif
