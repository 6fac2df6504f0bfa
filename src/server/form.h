/* multipart/form-data (RFC 7578) of a body that is there whole, as JSON fields. */
#ifndef SWAN_SERVER_FORM_H
#define SWAN_SERVER_FORM_H

#include <jansson.h>
#include <stdbool.h>

/* Whether a Content-Type is a form. NULL is fine. */
bool swan_form_is(const char *content_type);
/* An object of strings. A part with a file name becomes an empty string: its content is not kept. NULL: not a whole form, a part
 * without a name, the same name twice, more than 64 parts, a zero byte or text that is not UTF-8. */
json_t *swan_form_parse(const char *content_type, const char *body, size_t bytes);

#endif
