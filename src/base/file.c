#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* What errno means for a caller. */
static swan_status code_of(int error)
{
    if (error == ENOENT || error == ENOTDIR) return SWAN_E_NOT_FOUND;
    if (error == ENOMEM) return SWAN_E_NOMEM;
    return SWAN_E_IO;
}

static swan_status require_regular(const char *path, const struct stat *info)
{
    if (S_ISDIR(info->st_mode)) return SWAN_FAIL(SWAN_E_INVALID, "%s: wanted a file, found a directory", path);
    if (!S_ISREG(info->st_mode))
        return SWAN_FAIL(SWAN_E_INVALID, "%s: wanted a regular file, found a device, pipe or socket", path);
    return SWAN_OK;
}

bool swan_file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool swan_file_is_directory(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

swan_status swan_file_size(const char *path, uint64_t *bytes)
{
    struct stat info;
    if (stat(path, &info) != 0) return SWAN_FAIL(code_of(errno), "%s: %s", path, strerror(errno));
    SWAN_TRY(require_regular(path, &info));
    *bytes = (uint64_t)info.st_size;
    return SWAN_OK;
}

swan_status swan_file_open_read(const char *path, int *fd, uint64_t *bytes)
{
    /* without O_NONBLOCK the open of a named pipe would wait for its writer */
    int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (opened < 0) return SWAN_FAIL(code_of(errno), "%s: %s", path, strerror(errno));
    struct stat info;
    swan_status status = SWAN_OK;
    if (fstat(opened, &info) != 0)
        status = SWAN_FAIL(SWAN_E_IO, "%s: %s", path, strerror(errno));
    else
        status = require_regular(path, &info);
    if (status != SWAN_OK) {
        close(opened);
        return status;
    }
    *fd = opened;
    if (bytes) *bytes = (uint64_t)info.st_size;
    return SWAN_OK;
}

static swan_status read_all(int fd, const char *path, char *data, size_t want, size_t *got)
{
    size_t done = 0;
    while (done < want) {
        ssize_t n = read(fd, data + done, want - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return SWAN_FAIL(SWAN_E_IO, "%s: %s", path, strerror(errno));
        if (n == 0) break; /* it became shorter after it was measured */
        done += (size_t)n;
    }
    *got = done;
    return SWAN_OK;
}

swan_status swan_file_read(const char *path, size_t limit, char **data, size_t *bytes)
{
    int fd;
    uint64_t size;
    SWAN_TRY(swan_file_open_read(path, &fd, &size));
    if (size > limit) {
        close(fd);
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted at most %zu bytes, found %llu", path, limit,
                         (unsigned long long)size);
    }
    char *buffer = malloc((size_t)size + 1);
    if (!buffer) {
        close(fd);
        return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory reading %llu bytes", path, (unsigned long long)size);
    }
    size_t got = 0;
    swan_status status = read_all(fd, path, buffer, (size_t)size, &got);
    close(fd);
    if (status != SWAN_OK) {
        free(buffer);
        return status;
    }
    buffer[got] = 0;
    *data = buffer;
    *bytes = got;
    return SWAN_OK;
}

swan_status swan_path_join(const char *directory, const char *name, char *buf, size_t n)
{
    size_t length = strlen(directory);
    const char *slash = length && directory[length - 1] != '/' ? "/" : "";
    int wrote = snprintf(buf, n, "%s%s%s", directory, slash, name);
    if (wrote < 0 || (size_t)wrote >= n)
        return SWAN_FAIL(SWAN_E_INVALID, "%.64s…/%.64s: path longer than %zu bytes", directory, name, n - 1);
    return SWAN_OK;
}

const char *swan_path_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

swan_status swan_path_directory(const char *path, char *buf, size_t n)
{
    const char *slash = strrchr(path, '/');
    const char *from = slash ? path : ".";
    size_t length = !slash ? 1 : slash == path ? 1 : (size_t)(slash - path);
    if (length >= n) return SWAN_FAIL(SWAN_E_INVALID, "%.64s…: path longer than %zu bytes", path, n - 1);
    memcpy(buf, from, length);
    buf[length] = 0;
    return SWAN_OK;
}

swan_status swan_file_temp_path(const char *final, char *buf, size_t n)
{
    char directory[SWAN_PATH_MAX], name[64];
    struct stat info;
    if (!*swan_path_name(final)) return SWAN_FAIL(SWAN_E_INVALID, "output \"%s\": wanted a file name", final);
    SWAN_TRY(swan_path_directory(final, directory, sizeof directory));
    if (stat(final, &info) == 0) {
        SWAN_TRY(require_regular(final, &info)); /* renaming over a device would replace it for the whole system */
        if (access(final, W_OK) != 0)
            return SWAN_FAIL(SWAN_E_IO, "%s: cannot be overwritten: %s", final, strerror(errno));
    }
    const char *ending = strrchr(swan_path_name(final), '.');
    if (!ending || strlen(ending) > 16) ending = "";
    static atomic_uint serial;
    for (int attempt = 0; attempt < 100; attempt++) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        unsigned tag =
            (unsigned)now.tv_nsec ^ ((unsigned)getpid() << 12) ^ (atomic_fetch_add(&serial, 1) * 2654435761u);
        snprintf(name, sizeof name, ".swan-%08x%s", tag, ending);
        SWAN_TRY(swan_path_join(directory, name, buf, n));
        int fd = open(buf, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) {
            close(fd);
            return SWAN_OK;
        }
        if (errno != EEXIST) return SWAN_FAIL(code_of(errno), "%s: cannot be written: %s", final, strerror(errno));
    }
    return SWAN_FAIL(SWAN_E_IO, "%s: no free temporary name in %s", final, directory);
}

static int sync_path(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    int error = fsync(fd) == 0 || errno == EINVAL ? 0 : errno; /* EINVAL: a file system that cannot */
    if (close(fd) != 0 && !error) error = errno;
    return error;
}

swan_status swan_file_commit(const char *temp, const char *final)
{
    int error = sync_path(temp);
    if (!error && rename(temp, final) != 0) error = errno;
    if (error) {
        swan_file_discard(temp);
        return SWAN_FAIL(SWAN_E_IO, "%s: cannot be written: %s", final, strerror(error));
    }
    char directory[SWAN_PATH_MAX];
    SWAN_TRY(swan_path_directory(final, directory, sizeof directory));
    sync_path(directory); /* the file is whole either way; this only makes its name survive a power cut */
    return SWAN_OK;
}

void swan_file_discard(const char *temp)
{
    if (*temp) unlink(temp);
}

swan_status swan_file_begin(swan_file *f, const char *final)
{
    f->stream = NULL;
    f->temp[0] = 0;
    if (strlen(final) >= sizeof f->final)
        return SWAN_FAIL(SWAN_E_INVALID, "%.64s…: path longer than %d bytes", final, SWAN_PATH_MAX - 1);
    memcpy(f->final, final, strlen(final) + 1);
    swan_status status = swan_file_temp_path(final, f->temp, sizeof f->temp);
    if (status != SWAN_OK) {
        f->temp[0] = 0; /* holds a name that is not ours */
        return status;
    }
    f->stream = fopen(f->temp, "wb");
    if (!f->stream) {
        status = SWAN_FAIL(code_of(errno), "%s: cannot be written: %s", final, strerror(errno));
        swan_file_abort(f);
    }
    return status;
}

swan_status swan_file_write(swan_file *f, const void *data, size_t bytes)
{
    if (bytes && fwrite(data, 1, bytes, f->stream) != bytes)
        return SWAN_FAIL(SWAN_E_IO, "%s: cannot be written: %s", f->final, strerror(errno));
    return SWAN_OK;
}

swan_status swan_file_end(swan_file *f)
{
    int error = ferror(f->stream) ? EIO : 0; /* a failed write that the caller let pass must not be committed */
    if (fclose(f->stream) != 0 && !error) error = errno;
    f->stream = NULL;
    if (error) {
        swan_file_abort(f);
        return SWAN_FAIL(SWAN_E_IO, "%s: cannot be written: %s", f->final, strerror(error));
    }
    return swan_file_commit(f->temp, f->final);
}

void swan_file_abort(swan_file *f)
{
    if (f->stream) fclose(f->stream);
    f->stream = NULL;
    swan_file_discard(f->temp);
    f->temp[0] = 0;
}
