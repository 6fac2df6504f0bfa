/* Where things are: the built-in model, and the files of a model directory. */
#ifndef SWAN_PIPE_LOCATE_H
#define SWAN_PIPE_LOCATE_H

#include "base/file.h"
#include "base/status.h"

/* The directory of a model: a path as given; where there is none, a pulled model of that name (base/cache.h); for NULL or
 * "tinyworld" the built-in one, looked for beside the program (../share/swan/models), in the source tree the program was built
 * in, and in the installed data directory. */
swan_status swan_locate_model(const char *given, char *directory, size_t n);
/* The decoder of a model: the flag; swan.json's "taehv"; taew2_1.safetensors or taehv/ in the directory. "" when none is
 * there. A file that was named but is missing is an error. */
swan_status swan_locate_taehv(const char *flag, const char *directory, const char *from_swan_json, char *path, size_t n);

#endif
