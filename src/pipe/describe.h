/* JSON about a run and about a model: what goes into a video's metadata and out of `swan info`. */
#ifndef SWAN_PIPE_DESCRIBE_H
#define SWAN_PIPE_DESCRIBE_H

#include "pipe/session.h"

/* The recipe of one video: everything that makes it again. *json is malloc'd. */
swan_status swan_describe_run(const struct swan_session *s, const char *prompt, uint64_t seed, char **json);

#endif
