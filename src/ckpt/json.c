#include "ckpt/json.h"

#include "ckpt/say.h"

swan_status swan_json_parse(const char *where, const char *text, size_t bytes, json_t **root)
{
    json_error_t error = {0};
    *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
    if (!*root) {
        /* Jansson gives up without a word where it cannot allocate a node */
        if (json_error_code(&error) == json_error_out_of_memory || !error.text[0])
            return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", where);
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: not valid JSON: %s (line %d, byte %d)", where, swan_say(error.text).text,
                         error.line, error.position);
    }
    if (json_is_object(*root)) return SWAN_OK;
    json_decref(*root);
    *root = NULL;
    return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted a JSON object, found an array", where);
}
