/* Which rows, in which processes, and the count. One child process a family, or a slot when several run at once; after a crash it goes
 * on with the next row in a new child. The parent runs no kernel and touches no device. */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "run.h"

#define ROW_SECONDS 300 /* a row that takes longer hangs */
#define MAX_ROWS 1024

static check_test *const tests[SWAN_SLOT_COUNT] = {
    [SWAN_SLOT_linear_f32] = check_linear,
    [SWAN_SLOT_linear_bf16] = check_linear,
    [SWAN_SLOT_linear_f16] = check_linear,
    [SWAN_SLOT_linear_gelu_mul] = check_linear_gelu_mul,
    [SWAN_SLOT_norm_layer] = check_norm_layer,
    [SWAN_SLOT_norm_rms] = check_norm_rms,
    [SWAN_SLOT_attn_dense] = check_attn_dense,
    [SWAN_SLOT_attn_block_sparse] = check_attn_block_sparse,
    [SWAN_SLOT_vsa_pool] = check_vsa_pool,
    [SWAN_SLOT_vsa_coarse] = check_vsa_coarse,
    [SWAN_SLOT_vsa_combine] = check_vsa_combine,
    [SWAN_SLOT_embed_rows] = check_embed_rows,
    [SWAN_SLOT_embed_timestep] = check_embed_timestep,
    [SWAN_SLOT_embed_patchify] = check_embed_patchify,
    [SWAN_SLOT_embed_unpatchify] = check_embed_unpatchify,
    [SWAN_SLOT_elem_combine] = check_elem_combine,
    [SWAN_SLOT_elem_map] = check_elem_map,
    [SWAN_SLOT_conv_conv3x3] = check_conv_conv3x3,
    [SWAN_SLOT_conv_up2x2] = check_conv_up2x2,
    [SWAN_SLOT_image_from_latent] = check_image_from_latent,
    [SWAN_SLOT_image_to_rgb8] = check_image_to_rgb8,
    [SWAN_SLOT_image_to_i420] = check_image_to_i420,
};

check_test *check_test_of(swan_slot slot) { return tests[slot]; }

/* ---- shapes ---- */

static check_line lines[CHECK_LINES];
static int line_count;

static bool parse_line(const char *path, int number, char *text)
{
    text[strcspn(text, "#\r\n")] = 0;
    char *save = NULL, *word = strtok_r(text, " \t", &save);
    if (!word) return true;
    if (line_count == CHECK_LINES) {
        fprintf(stderr, "%s:%d: more than %d lines\n", path, number, CHECK_LINES);
        return false;
    }
    check_line *line = &lines[line_count++];
    snprintf(line->slot, sizeof line->slot, "%s", word);
    while ((word = strtok_r(NULL, " \t", &save))) {
        char *equals = strchr(word, '='), *end = NULL;
        long long value = equals ? strtoll(equals + 1, &end, 10) : 0;
        if (!equals || equals - word >= 16 || end == equals + 1 || *end || line->keys == CHECK_KEYS) {
            fprintf(stderr, "%s:%d: \"%s\" is not key=number\n", path, number, word);
            return false;
        }
        memcpy(line->key[line->keys], word, (size_t)(equals - word));
        line->value[line->keys++] = value;
    }
    return true;
}

bool check_take_shapes(const char *name, const char *text)
{
    char line[512];
    bool ok = true;
    for (int n = 1; ok && *text; n++) {
        size_t length = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)length, text);
        ok = parse_line(name, n, line);
        text += length + (text[length] == '\n');
    }
    return ok;
}

bool check_read_shapes(const char *pattern)
{
    glob_t found;
    if (glob(pattern, 0, NULL, &found)) {
        fprintf(stderr, "checkkernel: no file of shapes at %s (run from the repository's root, or give --shapes)\n", pattern);
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < found.gl_pathc; i++) {
        FILE *f = fopen(found.gl_pathv[i], "r");
        char text[512];
        if (!f) fprintf(stderr, "checkkernel: %s: %s\n", found.gl_pathv[i], strerror(errno));
        ok = f != NULL;
        for (int n = 1; ok && fgets(text, sizeof text, f); n++) ok = parse_line(found.gl_pathv[i], n, text);
        if (f) fclose(f);
    }
    globfree(&found);
    return ok;
}

/* ---- rows ---- */

static void row_name(const swan_kernel_row *r, char *buf, size_t n)
{
    snprintf(buf, n, "%s.%s=%s (%s)", r->family, r->slot, r->variant, swan_dtype_name(r->format));
}

static bool wanted(const check_options *o, const swan_kernel_row *r)
{
    char name[128];
    row_name(r, name, sizeof name);
    if (!(r->picked & SWAN_ARCH_CUDA ? o->gpu : o->cpu)) return false;
    return !o->only || strstr(name, o->only);
}

static swan_device_info gpu; /* that rows run on; arch 0: none */

/* Asks in a child: a process that has touched a device cannot fork children that use it. */
bool check_find_gpu(int index)
{
    swan_device_info *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return false;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        swan_device_info list[SWAN_DEVICE_MAX];
        if (index + 1 < swan_device_list(list)) *shared = list[index + 1];
        _exit(0);
    }
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
    gpu = *shared;
    munmap(shared, sizeof *shared);
    if (gpu.arch) printf("%s, compute capability %d.%d\n", gpu.name, gpu.major, gpu.minor);
    return gpu.arch != 0;
}

/* Why a row cannot run here, or NULL. */
static const char *skip_reason(const swan_kernel_row *r)
{
    unsigned missing = r->cpu & ~swan_kernel_cpu_features(), archs = r->picked | r->tested;
    if (archs & SWAN_ARCH_CUDA && !gpu.arch) return "no CUDA device";
    if (archs & SWAN_ARCH_CUDA && !(archs & gpu.arch)) return "this GPU is of another architecture";
    if (missing & SWAN_CPU_AVX512) return "this processor lacks AVX-512 (F, BW, DQ, VL)";
    if (missing) return "this processor lacks AVX2, FMA or F16C";
    return NULL;
}

/* ---- the rows of one unit in a child ---- */

/* What one child goes through. */
typedef struct unit {
    const char *family, *slot; /* slot NULL: all of the family */
} unit;

/* Shared with the child, so that the parent knows where it was when it died. */
typedef struct progress {
    int row; /* being checked */
    int passed, failed, cases;
    char name[256];
} progress;

static void check_row(const check_options *o, const swan_kernel_row *r, progress *p)
{
    check c = {.row = r,
               .seed = o->seed,
               .bench = o->bench,
               .threads = o->threads,
               .most = o->cases,
               .gpu = gpu.index,
               .lines = lines,
               .line_count = line_count,
               .progress = p->name};
    if (!check_test_of(r->id)) {
        snprintf(c.name, sizeof c.name, "no case");
        check_fail(&c, "its slot has no test");
    } else {
        check_open(&c);
        check_test_of(r->id)(&c);
        check_close(&c);
        if (!c.cases) check_fail(&c, "its test made no case");
    }
    p->cases += c.cases;
    if (c.failures) p->failed++;
    else p->passed++;
    if (!o->each) return;
    char name[128];
    row_name(r, name, sizeof name);
    printf("%s %-40s %4d cases\n", c.failures ? "FAIL" : "ok  ", name, c.cases);
    fflush(stdout);
}

static bool is_of(const swan_kernel_row *r, const unit *u)
{
    return !strcmp(r->family, u->family) && (!u->slot || !strcmp(r->slot, u->slot));
}

static void check_unit(const check_options *o, const unit *u, int first, progress *p)
{
    const swan_kernel_row *r;
    for (int i = first; (r = swan_kernel_row_at((size_t)i)); i++) {
        if (!is_of(r, u) || !wanted(o, r) || skip_reason(r)) continue;
        p->row = i;
        if (!o->bench) alarm(ROW_SECONDS);
        check_row(o, r, p);
    }
    fflush(stdout);
}

static void run_unit(const check_options *o, const unit *u, progress *p)
{
    for (int first = 0; !o->here;) {
        p->row = -1;
        p->name[0] = 0;
        fflush(stdout);
        pid_t pid = fork();
        if (pid < 0) {
            printf("FAIL %s: no child process: %s\n", u->family, strerror(errno));
            p->failed++;
            return;
        }
        if (pid == 0) {
            check_unit(o, u, first, p);
            _exit(0);
        }
        int status = 0;
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
        p->failed++;
        if (p->row < 0) {
            printf("FAIL %s: the child ended before its first row\n", u->family);
            return;
        }
        char name[128];
        row_name(swan_kernel_row_at((size_t)p->row), name, sizeof name);
        if (WIFSIGNALED(status))
            printf("FAIL %s [%s] crashed: %s (seed %llu)\n", name, p->name, strsignal(WTERMSIG(status)),
                   (unsigned long long)o->seed);
        else
            printf("FAIL %s [%s] ended its process with %d (seed %llu)\n", name, p->name, WEXITSTATUS(status),
                   (unsigned long long)o->seed);
        first = p->row + 1;
    }
    check_unit(o, u, 0, p);
}

static int list_units(const check_options *o, unit out[SWAN_SLOT_COUNT])
{
    const swan_kernel_row *r;
    int n = 0;
    for (size_t i = 0; (r = swan_kernel_row_at(i)); i++) {
        bool seen = false;
        for (int k = 0; k < n; k++) seen |= is_of(r, &out[k]);
        if (!seen && wanted(o, r) && !skip_reason(r)) out[n++] = (unit){r->family, o->jobs > 1 ? r->slot : NULL};
    }
    return n;
}

/* Waits for one of the processes that run units. */
static void join(progress *p)
{
    int status = 0;
    while (wait(&status) < 0 && errno == EINTR) continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    printf("FAIL a process that runs others ended with status %d\n", status);
    p->failed++;
}

static void run_units(const check_options *o, const unit *units, int count, progress *p)
{
    int running = 0;
    for (int i = 0; i < count; i++) {
        if (o->jobs <= 1 || o->here) {
            run_unit(o, &units[i], &p[i]);
            continue;
        }
        if (running == o->jobs) join(p), running--;
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            run_unit(o, &units[i], &p[i]);
            fflush(stdout);
            _exit(0);
        }
        if (pid < 0) {
            printf("FAIL %s: no child process: %s\n", units[i].family, strerror(errno));
            p[i].failed++;
        } else {
            running++;
        }
    }
    for (; running; running--) join(p);
    for (int i = 1; i < count; i++) {
        p->passed += p[i].passed;
        p->failed += p[i].failed;
        p->cases += p[i].cases;
    }
}

int check_run_all(const check_options *o)
{
    progress *p = mmap(NULL, SWAN_SLOT_COUNT * sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "checkkernel: no shared memory: %s\n", strerror(errno));
        return 3;
    }
    const swan_kernel_row *r;
    int skipped = 0;
    unit units[SWAN_SLOT_COUNT];
    run_units(o, units, list_units(o, units), p);
    for (size_t i = 0; (r = swan_kernel_row_at(i)); i++) {
        char name[128];
        const char *reason = skip_reason(r);
        if (!reason || !wanted(o, r)) continue;
        row_name(r, name, sizeof name);
        printf("SKIP %s: %s\n", name, reason);
        skipped++;
    }
    if (o->bench) return p->failed ? 1 : 0;
    if (!p->passed && !p->failed && !skipped) {
        printf("FAIL no row is called \"%s\"\n", o->only ? o->only : "");
        p->failed++;
    }
    printf("%d cases, seed %llu\n%d passed, %d failed, %d skipped\n", p->cases, (unsigned long long)o->seed, p->passed,
           p->failed, skipped);
    return p->failed ? 1 : 0;
}

void check_list_rows(const check_options *o)
{
    const swan_kernel_row *r;
    for (size_t i = 0; (r = swan_kernel_row_at(i)); i++) {
        char name[128];
        const char *reason = skip_reason(r);
        row_name(r, name, sizeof name);
        const char *state = reason ? "skipped: " : check_test_of(r->id) ? "" : "no test";
        if (wanted(o, r)) printf("%-40s %s%s\n", name, state, reason ? reason : "");
    }
}

int check_run_self_test(const check_options *o)
{
    check base = {.seed = o->seed, .threads = o->threads, .lines = lines, .line_count = line_count};
    return check_self_test(&base);
}
