#include "media/libav.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <libavformat/avformat.h>
#include <libavutil/error.h>
#include <libavutil/log.h>

#include "base/file.h"

#if LIBAVFORMAT_VERSION_MAJOR < 59
typedef AVInputFormat input_format;
#else
typedef const AVInputFormat input_format;
#endif

/* The last error lines of this thread, "; " between them. */
static _Thread_local char logged[400];

static void keep(void *context, int level, const char *format, va_list args)
{
    if (level > AV_LOG_ERROR) return;
    char line[256];
    int prefix = 1;
    if (av_log_format_line2(context, level, format, args, line, sizeof line, &prefix) < 0) return;
    size_t length = strlen(line);
    while (length && (line[length - 1] == '\n' || line[length - 1] == ' ')) line[--length] = 0;
    if (!length) return;
    size_t used = strlen(logged);
    if (used + length + 3 > sizeof logged) used = 0; /* the newest line says most */
    snprintf(logged + used, sizeof logged - used, "%s%s", used ? "; " : "", line);
}

static void install(void) { av_log_set_callback(keep); }

void swan_libav_begin(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
    logged[0] = 0;
}

swan_status swan_libav_fail(swan_status otherwise, int error, const char *name, const char *doing)
{
    static const int system_errors[] = {ENOSPC, EFBIG, EDQUOT, EIO,    EACCES, EPERM,  EROFS,
                                        ENOENT, EISDIR, EMFILE, ENFILE, EBADF, EPIPE,  ENOTDIR};
    swan_status code = error == AVERROR(ENOMEM) ? SWAN_E_NOMEM : otherwise;
    for (size_t i = 0; i < sizeof system_errors / sizeof *system_errors; i++)
        if (error == AVERROR(system_errors[i])) code = SWAN_E_IO;
    char reason[AV_ERROR_MAX_STRING_SIZE];
    av_strerror(error, reason, sizeof reason);
    return SWAN_FAIL(code, "%s: %s: %s%s%s%s", name, doing, reason, *logged ? " (" : "", logged, *logged ? ")" : "");
}

swan_status swan_libav_open_mov(const char *path, AVFormatContext **out)
{
    *out = NULL;
    uint64_t bytes;
    SWAN_TRY(swan_file_size(path, &bytes));
    char url[SWAN_PATH_MAX + 8];
    if (snprintf(url, sizeof url, "file:%s", path) >= (int)sizeof url)
        return SWAN_FAIL(SWAN_E_INVALID, "path of %zu bytes is too long", strlen(path));
    swan_libav_begin();
    /* Only this reader and only this file: a foreign file must not be able to name others. */
    input_format *mov = av_find_input_format("mov");
    AVDictionary *options = NULL;
    av_dict_set(&options, "protocol_whitelist", "file", 0);
    int error = avformat_open_input(out, url, mov, &options);
    av_dict_free(&options);
    return error < 0 ? swan_libav_fail(SWAN_E_FORMAT, error, path, "not a readable mp4") : SWAN_OK;
}
