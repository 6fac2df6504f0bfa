/* Failures: a status code, and one sentence per thread that names file, thing, wanted and found. */
#ifndef SWAN_BASE_STATUS_H
#define SWAN_BASE_STATUS_H

#include <swan/swan.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Formats the thread's message and returns code, so that `return SWAN_FAIL(SWAN_E_IO, "%s: …", path)` is one statement.
 * The message is cut at 1,023 bytes; never fails, never allocates. */
swan_status swan_status_fail(swan_status code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts "prefix: " before the present message (for callers that know a name the callee does not) and returns code. */
swan_status swan_status_prefix(swan_status code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A failure and its message, kept for later or for another thread: the first one stays. {0}: none. Whoever shares it locks it. */
typedef struct swan_failure {
    swan_status status;
    char message[1024];
} swan_failure;
/* Keeps status and the thread's message, unless there is none (SWAN_OK) or one is kept already. */
void swan_status_keep(swan_failure *failure, swan_status status);
/* What is kept, with its message on the calling thread; SWAN_OK when nothing is. */
swan_status swan_status_kept(const swan_failure *failure);

#define SWAN_FAIL(code, ...) swan_status_fail((code), __VA_ARGS__)
#define SWAN_BUG(...) swan_status_fail(SWAN_E_BUG, __VA_ARGS__)
#define SWAN_TRY(call)                                                                                                 \
    do {                                                                                                               \
        swan_status swan_try_status_ = (call);                                                                         \
        if (swan_try_status_ != SWAN_OK) return swan_try_status_;                                                      \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
