#include "ckpt/json.h"

#include <errno.h>
#include <stdlib.h>

#include "ckpt/say.h"

/* A document of n bytes becomes nodes of at most so many times n ("{}," is the densest: three bytes, some 256 of nodes). */
#define NODE_BYTES ((size_t)96)

/* Jansson 2.14 writes past a buffer when it cannot enlarge the text of a string (its lexer drops that failure), so whether
 * there is memory is asked before it is called. */
static swan_status require_memory(const char *where, size_t bytes)
{
    void *volatile probe =
        malloc(bytes * NODE_BYTES + 65536); /* volatile: compilers drop a malloc that is only freed */
    if (!probe) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory for %zu bytes of JSON", where, bytes);
    free(probe);
    return SWAN_OK;
}

swan_status swan_json_parse(const char *where, const char *text, size_t bytes, json_t **root)
{
    json_error_t error = {0};
    *root = NULL;
    SWAN_TRY(require_memory(where, bytes));
    errno = 0;
    *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
    if (!*root) {
        /* where Jansson cannot allocate a string or a node it reports a syntax error, or nothing; malloc left its word here */
        if (errno == ENOMEM || json_error_code(&error) == json_error_out_of_memory || !error.text[0])
            return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", where);
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: not valid JSON: %s (line %d, byte %d)", where, swan_say(error.text).text,
                         error.line, error.position);
    }
    if (json_is_object(*root)) return SWAN_OK;
    json_decref(*root);
    *root = NULL;
    return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted a JSON object, found an array", where);
}
