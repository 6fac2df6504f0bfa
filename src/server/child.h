/* The worker process: the engine on one device, driven by messages over a socket (lines.h). It is the only part of the service
 * that opens an engine, so that a fault of the device or a crash costs one job and one process.
 *
 * To it: {"do":"run", "id", "prompt", "seed", "directory", "settings": {key: text}}, {"do":"cancel", "id"}; the end of the stream
 * means: leave at once. From it: {"event":"ready", "describe": {...}}, {"event":"unready", "message"}, {"event":"log", "text"},
 * {"event":"progress", "id", "phase", "step", "steps", "fraction", "remaining_s"}, {"event":"preview", "id", "step", "steps", "jpeg"},
 * {"event":"done", "id", "seconds", "recipe": {...}}, {"event":"failed", "id", "code", "message", "fatal"}. */
#ifndef SWAN_SERVER_CHILD_H
#define SWAN_SERVER_CHILD_H

#include "base/status.h"

enum { SWAN_CHILD_FD = 3, SWAN_CHILD_LINE_MAX = 8 << 20 };

/* Serves jobs with the engine that params name until the stream ends; the result is the exit status of the process. */
int swan_child_run(swan_params *params, int fd);

#endif
