/* What our uses of FFmpeg's libav* share: its log kept out of the terminal, its errors turned into ours. */
#ifndef SWAN_MEDIA_LIBAV_H
#define SWAN_MEDIA_LIBAV_H

#include "base/status.h"

/* Before a group of libav calls: forgets what libav logged earlier on this thread. The first call of the process
 * installs our log function in libav, for good (libav has one for the whole process): errors are kept per thread, the
 * rest is dropped. */
void swan_libav_begin(void);

/* Fails with "name: doing: reason (what libav logged)", where error is libav's negative code. Running out of memory is
 * SWAN_E_NOMEM, an error of the operating system SWAN_E_IO, everything else is `otherwise`. */
swan_status swan_libav_fail(swan_status otherwise, int error, const char *name, const char *doing);

/* Opens an mp4 or mov file, and no other kind or file, whatever it says inside. SWAN_E_NOT_FOUND, SWAN_E_IO, SWAN_E_INVALID (no
 * file), SWAN_E_FORMAT (no mp4). The caller closes *out with avformat_close_input. */
struct AVFormatContext;
swan_status swan_libav_open_mov(const char *path, struct AVFormatContext **out);

#endif
