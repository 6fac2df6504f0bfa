/* Drives a fuzz target where libFuzzer is not at hand: DIRECTORY [SECONDS [SEED]]. Replays every file of the corpus,
 * then runs mutations of them, the same sequence for the same seed and corpus. An input that crashes, or takes more
 * than 20 s, is written to ./crash-TARGET: mend the parser and add the file to the corpus. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

#define INPUT_MAX ((size_t)65536)
#define CORPUS_MAX 256

static struct input {
    uint8_t *data;
    size_t size;
    char name[256];
} corpus[CORPUS_MAX];
static size_t corpus_count;

static uint8_t current[INPUT_MAX];
static size_t current_size;
static char crash_name[128];

/* ---- files ----------------------------------------------------------------------------------------------------------
 */

static char directory[64];
static char paths[16][192];
static unsigned path_count;

static void remove_directory(void)
{
    DIR *d = opendir(directory);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", directory, e->d_name);
        if (e->d_name[0] != '.') unlink(path);
    }
    closedir(d);
    rmdir(directory);
}

const char *fuzz_directory(void)
{
    if (directory[0]) return directory;
    const char *base = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%.40s/swan-fuzz-XXXXXX", base ? base : "/tmp");
    FUZZ_CHECK(mkdtemp(directory));
    atexit(remove_directory);
    return directory;
}

const char *fuzz_file(const char *name, const void *data, size_t size)
{
    char *path = paths[path_count++ % 16];
    snprintf(path, sizeof paths[0], "%s/%s", fuzz_directory(), name);
    int fd = open(path, O_WRONLY | O_CREAT, 0600); /* emptying it first would make ext4 flush every time */
    FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size && ftruncate(fd, (off_t)size) == 0);
    close(fd);
    return path;
}

/* ---- crashes --------------------------------------------------------------------------------------------------------
 */

static void save_current(void)
{
    int fd = open(crash_name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, current, current_size) < 0) return;
    close(fd);
    static const char text[] = "\nthe input is saved as ./crash-*\n";
    if (write(2, text, sizeof text - 1) < 0) return;
    remove_directory();
}

static void on_signal(int number)
{
    save_current();
    signal(number, SIG_DFL);
    raise(number);
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch(const char *program)
{
    const char *name = strrchr(program, '/');
    snprintf(crash_name, sizeof crash_name, "crash-%.100s", name ? name + 1 : program);
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(save_current);
    signal(SIGABRT, on_signal);
    signal(SIGALRM, on_signal);
    if (!__sanitizer_set_death_callback) {
        signal(SIGSEGV, on_signal);
        signal(SIGBUS, on_signal);
        signal(SIGFPE, on_signal);
    }
}

static void run_current(void)
{
    /* in a block of exactly its size, so that a read past the end is seen */
    uint8_t *copy = malloc(current_size ? current_size : 1);
    FUZZ_CHECK(copy);
    memcpy(copy, current, current_size);
    alarm(20);
    LLVMFuzzerTestOneInput(copy, current_size);
    alarm(0);
    free(copy);
}

/* ---- mutation -------------------------------------------------------------------------------------------------------
 */

static uint64_t rng_state;

static uint64_t next_random(void) /* splitmix64 */
{
    uint64_t z = (rng_state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static size_t below(size_t n) { return n ? (size_t)(next_random() % n) : 0; }

/* Replaces `cut` bytes at `at` by size bytes of data; does nothing when that would be too long. */
static void replace(size_t at, size_t cut, const void *data, size_t size)
{
    if (current_size - cut + size > INPUT_MAX) return;
    memmove(current + at + size, current + at + cut, current_size - at - cut);
    memcpy(current + at, data, size);
    current_size = current_size - cut + size;
}

static void mutate_number(void)
{
    static const char *const numbers[] = {"0",
                                          "-1",
                                          "1",
                                          "4",
                                          "7",
                                          "2147483648",
                                          "1e99",
                                          "1.0",
                                          "4294967295",
                                          "4294967297",
                                          "268435456",
                                          "9223372036854775807",
                                          "-9223372036854775808",
                                          "18446744073709551616",
                                          "99999999999999999999"};
    size_t at = below(current_size), end;
    while (at < current_size && (current[at] < '0' || current[at] > '9')) at++;
    for (end = at; end < current_size && current[end] >= '0' && current[end] <= '9';) end++;
    const char *number = numbers[below(sizeof numbers / sizeof numbers[0])];
    if (end > at) replace(at, end - at, number, strlen(number));
}

static void mutate_token(void)
{
    static const char *const tokens[] = {"{",       "}",       "[",   "]",         "\"",        ":",
                                         ",",       "'",       "(",   ")",         "null",      "true",
                                         "\\",      "\\u0000", "{}",  "[]",        "\"a\"",     "False",
                                         "\"F32\"", "/",       "../", "\"dtype\"", "\"shape\"", "\"data_offsets\"",
                                         "\377"};
    const char *token = tokens[below(sizeof tokens / sizeof tokens[0])];
    size_t at = below(current_size + 1), cut = below(2) ? below(8) : 0;
    replace(at, cut < current_size - at ? cut : current_size - at, token, strlen(token));
}

static void mutate_once(void)
{
    static const uint8_t bytes[] = {0, 1, 0x7F, 0x80, 0xFF, ' ', '"', '\n'};
    size_t at = below(current_size), left = current_size - at;
    uint8_t block[64];
    switch (below(8)) {
    case 0:
        if (left) current[at] ^= (uint8_t)(1u << below(8));
        break;
    case 1:
        if (left) current[at] = bytes[below(sizeof bytes)];
        break;
    case 2: replace(at, below((left < 64 ? left : 64) + 1), "", 0); break;
    case 3: { /* a copy of another place */
        size_t n = below((left < 64 ? left : 64) + 1);
        memcpy(block, current + at, n);
        replace(below(current_size + 1), 0, block, n);
        break;
    }
    case 4: { /* the end of another input */
        const struct input *other = &corpus[below(corpus_count)];
        size_t from = below(other->size);
        replace(at, left, other->data + from, other->size - from);
        break;
    }
    case 5: current_size = at; break;
    case 6: mutate_token(); break;
    default: mutate_number(); break;
    }
}

/* ---- main -----------------------------------------------------------------------------------------------------------
 */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct input *)a)->name, ((const struct input *)b)->name);
}

static int read_corpus(const char *path)
{
    DIR *d = opendir(path);
    if (!d) return -1;
    for (struct dirent *e; (e = readdir(d)) && corpus_count < CORPUS_MAX;) {
        char file[768];
        struct input *input = &corpus[corpus_count];
        if (e->d_name[0] == '.') continue;
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        FILE *f = fopen(file, "rb");
        FUZZ_CHECK(f);
        input->size = fread(current, 1, sizeof current, f);
        fclose(f);
        input->data = malloc(input->size + 1);
        FUZZ_CHECK(input->data);
        memcpy(input->data, current, input->size);
        memcpy(input->name, e->d_name, strlen(e->d_name) + 1);
        corpus_count++;
    }
    closedir(d);
    qsort(corpus, corpus_count, sizeof corpus[0], by_name);
    return corpus_count ? 0 : -1;
}

static void take_input(size_t i)
{
    memcpy(current, corpus[i].data, corpus[i].size);
    current_size = corpus[i].size;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc < 2 || read_corpus(argv[1]) != 0) {
        fprintf(stderr, "usage: %s CORPUS [SECONDS [SEED]]; the corpus must hold a file\n", argv[0]);
        return 2;
    }
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 0, start = now();
    rng_state = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    watch(argv[0]);
    for (size_t i = 0; i < corpus_count; i++) {
        take_input(i);
        run_current();
    }
    unsigned long runs = 0;
    for (; now() - start < seconds; runs++) {
        take_input(below(corpus_count));
        for (size_t n = 1 + below(6); n > 0; n--) mutate_once();
        run_current();
    }
    printf("%zu corpus files, %lu mutations\n", corpus_count, runs);
    for (size_t i = 0; i < corpus_count; i++) free(corpus[i].data);
    return 0;
}
