#include "hub/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PARTIAL ".partial"

/* ---- directories ---- */

swan_status swan_store_make_directories(const char *path)
{
    char part[SWAN_PATH_MAX];
    if (strlen(path) >= sizeof part) return SWAN_FAIL(SWAN_E_INVALID, "%.64s…: path too long", path);
    strcpy(part, path);
    for (char *p = part + 1;; p++) {
        if (*p != '/' && *p) continue;
        char end = *p;
        *p = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST) return SWAN_FAIL(SWAN_E_IO, "%s: cannot be made: %s", part, strerror(errno));
        *p = end;
        if (!end) break;
    }
    return swan_file_is_directory(path) ? SWAN_OK : SWAN_FAIL(SWAN_E_IO, "%s: wanted a directory", path);
}

/* Removes name in the open directory `at`; 0 or an errno. */
static int remove_at(int at, const char *name)
{
    if (unlinkat(at, name, 0) == 0 || errno == ENOENT) return 0;
    if (errno != EISDIR && errno != EPERM) return errno;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        int error = errno;
        if (fd >= 0) close(fd);
        return error;
    }
    int error = 0;
    for (struct dirent *e; !error && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) error = remove_at(fd, e->d_name);
    closedir(d);
    if (!error && unlinkat(at, name, AT_REMOVEDIR) != 0 && errno != ENOENT) error = errno;
    return error;
}

swan_status swan_store_remove(const char *path)
{
    int error = remove_at(AT_FDCWD, path);
    return error ? SWAN_FAIL(SWAN_E_IO, "%s: cannot be removed: %s", path, strerror(error)) : SWAN_OK;
}

/* ---- a model's places ---- */

static swan_status name_places(const char *repository, swan_store *s)
{
    char hidden[SWAN_REPOSITORY_MAX + 32];
    SWAN_TRY(swan_cache_place(repository, s->directory, sizeof s->directory));
    snprintf(s->repository, sizeof s->repository, "%s", repository);
    SWAN_TRY(swan_path_directory(s->directory, s->owner, sizeof s->owner));
    const char *name = swan_path_name(s->directory);
    snprintf(hidden, sizeof hidden, ".%s" PARTIAL, name);
    SWAN_TRY(swan_path_join(s->owner, hidden, s->partial, sizeof s->partial));
    SWAN_TRY(swan_path_join(s->partial, "parts", s->parts, sizeof s->parts));
    SWAN_TRY(swan_path_join(s->partial, "tree", s->tree, sizeof s->tree));
    snprintf(hidden, sizeof hidden, ".%s.replaced", name);
    SWAN_TRY(swan_path_join(s->owner, hidden, s->replaced, sizeof s->replaced));
    snprintf(hidden, sizeof hidden, ".%s.removed", name);
    SWAN_TRY(swan_path_join(s->owner, hidden, s->removed, sizeof s->removed));
    snprintf(hidden, sizeof hidden, ".%s.lock", name);
    return swan_path_join(s->owner, hidden, s->lock, sizeof s->lock);
}

/* The holder removes the file, so after the lock is there it has to be checked that the name still means this file. */
static swan_status take_lock(swan_store *s)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        int fd = open(s->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd < 0) return SWAN_FAIL(SWAN_E_IO, "%s: %s", s->lock, strerror(errno));
        struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (fcntl(fd, F_SETLK, &whole) != 0) {
            int error = errno;
            close(fd);
            if (error != EAGAIN && error != EACCES) return SWAN_FAIL(SWAN_E_IO, "%s: %s", s->lock, strerror(error));
            return SWAN_FAIL(SWAN_E_INVALID, "%s: another process is pulling or removing it", s->repository);
        }
        struct stat held, named;
        if (fstat(fd, &held) == 0 && stat(s->lock, &named) == 0 && held.st_ino == named.st_ino && held.st_dev == named.st_dev) {
            s->lock_fd = fd;
            return SWAN_OK;
        }
        close(fd);
    }
    return SWAN_FAIL(SWAN_E_IO, "%s: the lock keeps vanishing", s->lock);
}

swan_status swan_store_open(const char *repository, swan_store *s)
{
    *s = (swan_store){.lock_fd = -1};
    SWAN_TRY(name_places(repository, s));
    SWAN_TRY(swan_store_make_directories(s->owner));
    SWAN_TRY(take_lock(s));
    swan_status status = swan_store_remove(s->removed);
    if (!status && swan_file_exists(s->replaced)) {
        /* an update stopped between its two renames, or after them */
        if (swan_file_exists(s->directory)) status = swan_store_remove(s->replaced);
        else if (rename(s->replaced, s->directory) != 0) status = SWAN_FAIL(SWAN_E_IO, "%s: %s", s->directory, strerror(errno));
    }
    if (status) swan_store_close(s);
    return status;
}

void swan_store_close(swan_store *s)
{
    if (s->lock_fd < 0) return;
    unlink(s->lock);
    close(s->lock_fd);
    s->lock_fd = -1;
    rmdir(s->owner); /* only when nothing is in it */
}

swan_status swan_store_space(const swan_store *s, uint64_t *bytes)
{
    struct statvfs info;
    if (statvfs(s->owner, &info) != 0) return SWAN_FAIL(SWAN_E_IO, "%s: %s", s->owner, strerror(errno));
    *bytes = (uint64_t)info.f_bavail * info.f_frsize;
    return SWAN_OK;
}

static void flush_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd); /* only makes names survive a power cut: the next pull would put it right */
    close(fd);
}

swan_status swan_store_commit(swan_store *s)
{
    flush_directory(s->tree);
    bool old = swan_file_exists(s->directory);
    if (old && rename(s->directory, s->replaced) != 0)
        return SWAN_FAIL(SWAN_E_IO, "%s: cannot be replaced: %s", s->directory, strerror(errno));
    if (rename(s->tree, s->directory) != 0) {
        int error = errno;
        if (old && rename(s->replaced, s->directory) != 0) error = errno;
        return SWAN_FAIL(SWAN_E_IO, "%s: cannot be put in place: %s", s->directory, strerror(error));
    }
    flush_directory(s->owner);
    if (old) SWAN_TRY(swan_store_remove(s->replaced));
    return swan_store_remove(s->partial);
}

/* ---- pull.json and swan.json ---- */

static swan_status write_json(const char *directory, const char *name, json_t *root)
{
    char path[SWAN_PATH_MAX];
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    if (!text) return SWAN_FAIL(SWAN_E_NOMEM, "%s/%s: out of memory", directory, name);
    swan_file f;
    swan_status s = swan_path_join(directory, name, path, sizeof path);
    if (!s) s = swan_file_begin(&f, path);
    if (!s) {
        s = swan_file_write(&f, text, strlen(text));
        if (!s) s = swan_file_write(&f, "\n", 1);
        if (s) swan_file_abort(&f);
        else s = swan_file_end(&f);
    }
    free(text);
    return s;
}

swan_status swan_manifest_write(const char *directory, const swan_manifest *m)
{
    json_t *files = json_array();
    for (size_t i = 0; i < m->files.count; i++) {
        const swan_hub_file *f = &m->files.files[i];
        json_t *entry = json_pack("{s:s, s:I}", "path", f->path, "size", (json_int_t)f->bytes);
        const char *kind = f->kind == SWAN_HASH_SHA256 ? "sha256" : f->kind == SWAN_HASH_GIT_BLOB ? "git" : NULL;
        if (kind && entry) json_object_set_new(entry, kind, json_string(f->hash));
        if (json_array_append_new(files, entry) != 0) {
            json_decref(files);
            return SWAN_FAIL(SWAN_E_NOMEM, "%s/pull.json: out of memory", directory);
        }
    }
    return write_json(directory, "pull.json", json_pack("{s:s, s:s, s:o}", "source", m->source, "revision", m->revision, "files", files));
}

static swan_status read_entry(const char *path, const json_t *entry, swan_listing *list)
{
    const char *name = json_string_value(json_object_get(entry, "path"));
    const char *sha256 = json_string_value(json_object_get(entry, "sha256")), *git = json_string_value(json_object_get(entry, "git"));
    json_int_t size = json_integer_value(json_object_get(entry, "size"));
    if (!name || !swan_listing_is_path(name) || size < 0 || (sha256 && !swan_listing_is_hex(sha256, 64)) ||
        (git && !swan_listing_is_hex(git, 40)))
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: files: an entry is damaged", path);
    swan_hub_file *grown = realloc(list->files, (list->count + 1) * sizeof *grown);
    if (!grown) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", path);
    list->files = grown;
    swan_hub_file *f = &grown[list->count++];
    *f = (swan_hub_file){.bytes = (uint64_t)size, .kind = sha256 ? SWAN_HASH_SHA256 : git ? SWAN_HASH_GIT_BLOB : SWAN_HASH_NONE};
    strcpy(f->path, name);
    strcpy(f->hash, sha256 ? sha256 : git ? git : "");
    list->total += f->bytes;
    return SWAN_OK;
}

swan_status swan_manifest_read(const char *directory, swan_manifest *m)
{
    char path[SWAN_PATH_MAX], *text;
    size_t bytes;
    *m = (swan_manifest){0};
    SWAN_TRY(swan_path_join(directory, "pull.json", path, sizeof path));
    SWAN_TRY(swan_file_read(path, 4 << 20, &text, &bytes));
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    const char *source = json_string_value(json_object_get(root, "source"));
    const char *revision = json_string_value(json_object_get(root, "revision"));
    const json_t *files = json_object_get(root, "files");
    swan_status s = SWAN_OK;
    if (!source || !swan_cache_is_repository(source) || !swan_listing_is_hex(revision, 40) || !json_is_array(files)) {
        s = SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted source, revision and files", path);
    } else {
        strcpy(m->source, source);
        strcpy(m->revision, revision);
    }
    for (size_t i = 0; !s && i < json_array_size(files); i++) s = read_entry(path, json_array_get(files, i), &m->files);
    json_decref(root);
    if (s) swan_listing_free(&m->files);
    return s;
}

swan_status swan_store_write_recipe(const char *directory, const swan_manifest *m, const char *taehv)
{
    json_t *root = json_pack("{s:s, s:s, s:s}", "name", swan_path_name(m->source), "source", m->source, "revision", m->revision);
    const swan_published *known = swan_cache_find_published(m->source);
    json_t *recipe = known ? json_loads(known->recipe, 0, NULL) : NULL;
    if (root && recipe) json_object_update(root, recipe);
    json_decref(recipe);
    if (taehv && root) json_object_set_new(root, "taehv", json_string(taehv));
    return write_json(directory, "swan.json", root);
}

/* ---- what is there ---- */

/* Regular files below a directory, in bytes. */
static uint64_t measure(int at, const char *name)
{
    uint64_t bytes = 0;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        if (fd >= 0) close(fd);
        return 0;
    }
    for (struct dirent *e; (e = readdir(d));) {
        struct stat info;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        if (fstatat(fd, e->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (S_ISREG(info.st_mode)) bytes += (uint64_t)info.st_size;
        else if (S_ISDIR(info.st_mode)) bytes += measure(fd, e->d_name);
    }
    closedir(d);
    return bytes;
}

static swan_status describe(const char *repository, bool complete, swan_hub_model *m)
{
    swan_store places;
    SWAN_TRY(name_places(repository, &places));
    *m = (swan_hub_model){.complete = complete};
    strcpy(m->repository, repository);
    strcpy(m->directory, complete ? places.directory : places.partial);
    m->bytes = measure(AT_FDCWD, complete ? places.directory : places.parts);
    swan_manifest manifest;
    if (complete && swan_manifest_read(m->directory, &manifest) == SWAN_OK) {
        strcpy(m->revision, manifest.revision);
        swan_listing_free(&manifest.files);
    }
    return SWAN_OK;
}

static int by_repository(const void *a, const void *b)
{
    const swan_hub_model *x = a, *y = b;
    return x->complete != y->complete ? y->complete - x->complete : strcmp(x->repository, y->repository);
}

/* Adds the models of one owner. */
static swan_status list_owner(const char *models, const char *owner, swan_hub_model **list, size_t *count)
{
    char path[SWAN_PATH_MAX];
    SWAN_TRY(swan_path_join(models, owner, path, sizeof path));
    DIR *d = opendir(path);
    swan_status s = SWAN_OK;
    for (struct dirent *e; !s && d && (e = readdir(d));) {
        char repository[SWAN_REPOSITORY_MAX + 300], directory[SWAN_PATH_MAX];
        size_t n = strlen(e->d_name), tail = sizeof PARTIAL - 1;
        bool partial = e->d_name[0] == '.' && n > tail + 1 && !strcmp(e->d_name + n - tail, PARTIAL);
        snprintf(repository, sizeof repository, "%s/%.*s", owner, (int)(partial ? n - tail - 1 : n), e->d_name + partial);
        if (!swan_cache_is_repository(repository)) continue;
        s = swan_path_join(path, e->d_name, directory, sizeof directory);
        if (s || !swan_file_is_directory(directory)) continue;
        swan_hub_model *grown = realloc(*list, (*count + 1) * sizeof *grown);
        if (!grown) s = SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", path);
        else *list = grown;
        if (!s) s = describe(repository, !partial, &grown[*count]);
        if (!s) ++*count;
    }
    if (d) closedir(d);
    return s;
}

swan_status swan_hub_list(swan_hub_model **models, size_t *count)
{
    char root[SWAN_PATH_MAX];
    *models = NULL;
    *count = 0;
    SWAN_TRY(swan_cache_models(root, sizeof root));
    DIR *d = opendir(root);
    swan_status s = SWAN_OK;
    for (struct dirent *e; !s && d && (e = readdir(d));)
        if (e->d_name[0] != '.') s = list_owner(root, e->d_name, models, count);
    if (d) closedir(d);
    if (s) {
        free(*models);
        *models = NULL;
        *count = 0;
    }
    if (*count) qsort(*models, *count, sizeof **models, by_repository);
    return s;
}

swan_status swan_hub_find(const char *name, swan_hub_model *model)
{
    char repository[SWAN_REPOSITORY_MAX];
    swan_status s = swan_cache_find(name, repository);
    if (s != SWAN_E_NOT_FOUND) return s ? s : describe(repository, true, model);
    swan_hub_model *models;
    size_t count;
    const swan_published *known = swan_cache_find_published(name);
    SWAN_TRY(swan_hub_list(&models, &count));
    s = SWAN_FAIL(SWAN_E_NOT_FOUND, "%.200s: no pulled model of this name", name);
    for (size_t i = 0; i < count && s; i++) {
        const char *r = models[i].repository;
        if (strcmp(r, known ? known->repository : name) != 0 && strcmp(swan_path_name(r), name) != 0) continue;
        *model = models[i];
        s = SWAN_OK;
    }
    free(models);
    return s;
}

swan_status swan_hub_remove(const char *repository)
{
    swan_store store;
    SWAN_TRY(swan_store_open(repository, &store));
    /* out of sight first: a model that is half removed must not be found */
    swan_status s = SWAN_OK;
    if (rename(store.directory, store.removed) == 0) s = swan_store_remove(store.removed);
    else if (errno != ENOENT) s = SWAN_FAIL(SWAN_E_IO, "%s: cannot be removed: %s", store.directory, strerror(errno));
    if (!s) s = swan_store_remove(store.partial);
    swan_store_close(&store);
    return s;
}
