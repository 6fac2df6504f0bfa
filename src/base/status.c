#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[sizeof((swan_failure *)NULL)->message];

swan_status swan_status_fail(swan_status code, const char *format, ...)
{
    char text[sizeof message]; /* the arguments may point into the present message */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(message, text, sizeof message);
    return code;
}

swan_status swan_status_prefix(swan_status code, const char *format, ...)
{
    char text[sizeof message];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t used = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    const char *parts[] = {": ", message};
    for (int i = 0; i < 2; i++) {
        size_t length = strlen(parts[i]);
        if (length > sizeof text - 1 - used) length = sizeof text - 1 - used;
        memcpy(text + used, parts[i], length);
        used += length;
    }
    text[used] = 0;
    memcpy(message, text, sizeof message);
    return code;
}

void swan_status_keep(swan_failure *failure, swan_status status)
{
    if (failure->status || !status) return;
    failure->status = status;
    memcpy(failure->message, message, sizeof message);
}

swan_status swan_status_kept(const swan_failure *failure)
{
    return failure->status ? SWAN_FAIL(failure->status, "%s", failure->message) : SWAN_OK;
}

const char *swan_last_error(void) { return message; }

const char *swan_version(void) { return SWAN_VERSION; }

const char *swan_status_name(swan_status status)
{
    switch (status) {
    case SWAN_OK: return "ok";
    case SWAN_E_INVALID: return "invalid";
    case SWAN_E_NOT_FOUND: return "not found";
    case SWAN_E_IO: return "input/output";
    case SWAN_E_FORMAT: return "format";
    case SWAN_E_NOMEM: return "out of memory";
    case SWAN_E_UNSUPPORTED: return "unsupported";
    case SWAN_E_CANCELLED: return "cancelled";
    case SWAN_E_DEVICE: return "device";
    case SWAN_E_BUG: return "bug";
    }
    return "unknown";
}
