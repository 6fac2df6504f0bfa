/* A directory of its own for each test: cmocka set-up and tear-down, and files in it. Paths given out live until the test ends. */
#ifndef SWAN_TESTS_UNIT_SCRATCH_H
#define SWAN_TESTS_UNIT_SCRATCH_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch_paths[64][512];
static int scratch_used;

/* "directory/name", kept until the test ends (the 64 last ones). */
static inline const char *scratch_path(const char *directory, const char *name)
{
    char *path = scratch_paths[scratch_used++ % 64];
    snprintf(path, sizeof scratch_paths[0], "%s/%s", directory, name);
    return path;
}

/* Writes a file and gives its path; NULL when that fails. */
static inline const char *scratch_write(const char *directory, const char *name, const void *data, size_t bytes)
{
    const char *path = scratch_path(directory, name);
    FILE *f = fopen(path, "wb");
    if (!f) return NULL;
    size_t wrote = fwrite(data, 1, bytes, f);
    return fclose(f) == 0 && wrote == bytes ? path : NULL;
}

/* Entries of a directory, "." and ".." left out. */
static inline int scratch_count(const char *directory)
{
    int n = 0;
    DIR *d = opendir(directory);
    if (!d) return -1;
    for (struct dirent *e; (e = readdir(d));) n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n;
}

static inline void scratch_remove(const char *path)
{
    DIR *d = opendir(path);
    if (d) {
        for (struct dirent *e; (e = readdir(d));) {
            char child[768];
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
            int length = snprintf(child, sizeof child, "%s/%s", path, e->d_name);
            if (length > 0 && (size_t)length < sizeof child) scratch_remove(child);
        }
        closedir(d);
    }
    remove(path);
}

static inline int scratch_open(void **state)
{
    const char *base = getenv("TMPDIR");
    static char directory[256];
    snprintf(directory, sizeof directory, "%s/swan-test-XXXXXX", base ? base : "/tmp");
    *state = mkdtemp(directory);
    return *state ? 0 : -1;
}

static inline int scratch_close(void **state)
{
    scratch_remove(*state);
    return 0;
}

#endif
