#include "cli/args.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"

/* ---- help ---- */

static void print_row(char letter, const char *flag, const char *value, const char *help, const char *fallback)
{
    char left[64], shortcut[8] = "    ";
    if (letter) snprintf(shortcut, sizeof shortcut, "-%c, ", letter);
    snprintf(left, sizeof left, "%s%s%s%s", shortcut, flag, value ? " " : "", value ? value : "");
    printf("  %-32s %s", left, help);
    if (fallback && fallback[0]) printf(" [%s]", fallback);
    printf("\n");
}

static void print_help(const cli_command *c, const cli_flag *flags)
{
    static const struct {
        unsigned group;
        const char *title;
    } groups[] = {{SWAN_GROUP_MODEL, "Model"}, {SWAN_GROUP_VIDEO, "Video"}, {SWAN_GROUP_OUTPUT, "Output"}};
    printf("usage: swan %s %s\n\n%s\n", c->name, c->synopsis, c->summary);
    if (c->details) printf("\n%s\n", c->details);
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        if (!(c->groups & groups[g].group)) continue;
        printf("\n%s\n", groups[g].title);
        const swan_option *o;
        for (size_t i = 0; (o = swan_option_at(i)) != NULL; i++)
            if (o->flag && o->groups == groups[g].group) print_row(o->letter, o->flag, o->value, o->help, o->fallback);
    }
    printf("\nOther\n");
    for (const cli_flag *f = flags; f && f->flag; f++) print_row(0, f->flag, f->value, f->help, NULL);
    print_row('h', "--help", NULL, "show this page", NULL);
}

/* ---- parsing ---- */

/* A flag as typed: its name's length, and the value behind '=' (NULL: none). */
typedef struct typed_flag {
    const char *name;
    size_t length;
    const char *value;
} typed_flag;

static bool is_flag(const typed_flag *t, const char *flag, char letter)
{
    if (flag && strlen(flag) == t->length && !memcmp(flag, t->name, t->length)) return true;
    return letter && t->length == 2 && t->name[0] == '-' && t->name[1] == letter;
}

static const swan_option *find_option(const cli_command *c, const typed_flag *t)
{
    const swan_option *o;
    for (size_t i = 0; (o = swan_option_at(i)) != NULL; i++)
        if ((o->groups & c->groups) && is_flag(t, o->flag, o->letter)) return o;
    return NULL;
}

static const cli_flag *find_flag(const cli_flag *flags, const typed_flag *t)
{
    for (const cli_flag *f = flags; f && f->flag; f++)
        if (is_flag(t, f->flag, 0)) return f;
    return NULL;
}

/* Insertions, deletions, replacements and swaps of neighbours that make b of a[0 .. n): Damerau and Levenshtein's distance. */
static int distance(const char *a, size_t n, const char *b)
{
    enum { LONGEST = 63 };
    size_t m = strlen(b);
    int rows[3][LONGEST + 1];
    if (n > LONGEST || m > LONGEST) return LONGEST;
    for (size_t i = 0; i <= n; i++) {
        int *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        for (size_t j = 0; j <= m; j++) {
            if (!i || !j) {
                row[j] = (int)(i + j);
                continue;
            }
            int best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best) best = above[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < best) best = before[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[n % 3][m];
}

void cli_nearest(const char *typed, size_t length, const char *name, cli_guess *guess)
{
    bool begins = length > 4 && !strncmp(name, typed, length);
    int d = begins ? 0 : distance(typed, length, name);
    if (d > 2 || (guess->name && d >= guess->distance)) return; /* two slips of the finger */
    *guess = (cli_guess){name, d};
}

static swan_status unknown(const cli_command *c, const cli_flag *flags, const typed_flag *t)
{
    cli_guess guess = {0};
    const swan_option *o;
    for (size_t i = 0; (o = swan_option_at(i)) != NULL; i++)
        if ((o->groups & c->groups) && o->flag) cli_nearest(t->name, t->length, o->flag, &guess);
    for (const cli_flag *f = flags; f && f->flag; f++) cli_nearest(t->name, t->length, f->flag, &guess);
    return SWAN_FAIL(SWAN_E_INVALID, "unknown option %.*s%s%s%s", (int)t->length, t->name, guess.name ? "; did you mean " : "",
                     guess.name ? guess.name : "", guess.name ? "?" : "");
}

/* The library's messages name the key; here people know the flag. */
static swan_status set_option(swan_params *params, const swan_option *option, const char *value)
{
    swan_status status = swan_params_set(params, option->key, value);
    size_t n = strlen(option->key);
    const char *message = swan_last_error();
    if (!status || strncmp(message, option->key, n) != 0 || strncmp(message + n, ": ", 2) != 0) return status;
    return SWAN_FAIL(status, "%s%s", option->flag, message + n);
}

static swan_status parse_one(const cli_command *c, const cli_flag *flags, int argc, char **argv, int *at, cli_args *out)
{
    typed_flag t = {.name = argv[*at]};
    const char *equals = !strncmp(t.name, "--", 2) ? strchr(t.name, '=') : NULL;
    t.length = equals ? (size_t)(equals - t.name) : strlen(t.name);
    t.value = equals ? equals + 1 : NULL;
    const swan_option *option = find_option(c, &t);
    const cli_flag *flag = option ? NULL : find_flag(flags, &t);
    if (!option && !flag) return unknown(c, flags, &t);
    bool takes = option ? option->value != NULL : flag->value != NULL;
    if (!takes && t.value) return SWAN_FAIL(SWAN_E_INVALID, "%.*s takes no value", (int)t.length, t.name);
    if (takes && !t.value) {
        if (*at + 1 >= argc)
            return SWAN_FAIL(SWAN_E_INVALID, "%s wants a value: %s", t.name, option ? option->value : flag->value);
        t.value = argv[++*at];
    }
    if (option) return set_option(out->params, option, takes ? t.value : "true");
    if (flag->on) *flag->on = true;
    else *flag->text = t.value;
    return SWAN_OK;
}

swan_status cli_parse(const cli_command *c, const cli_flag *flags, int argc, char **argv, cli_args *out)
{
    *out = (cli_args){0};
    SWAN_TRY(swan_params_new(&out->params));
    bool only_positional = false;
    for (int i = 0; i < argc; i++) {
        const char *a = argv[i];
        if (!only_positional && !strcmp(a, "--")) {
            only_positional = true;
        } else if (!only_positional && (!strcmp(a, "--help") || !strcmp(a, "-h"))) {
            print_help(c, flags);
            out->help = true;
            return SWAN_OK;
        } else if (!only_positional && a[0] == '-' && a[1]) {
            SWAN_TRY(parse_one(c, flags, argc, argv, &i, out));
        } else {
            if (out->positional_count >= c->positional)
                return SWAN_FAIL(SWAN_E_INVALID, "unexpected argument \"%s\"", a);
            out->positional[out->positional_count++] = a;
        }
    }
    return SWAN_OK;
}

void cli_args_free(cli_args *args)
{
    swan_params_free(args->params);
    *args = (cli_args){0};
}

int cli_fail(swan_status status)
{
    if (status == SWAN_OK) return CLI_OK;
    fprintf(stderr, "swan: %s\n", swan_last_error());
    return status == SWAN_E_CANCELLED ? CLI_CANCELLED : CLI_FAILED;
}

int cli_usage(const cli_command *command, swan_status status)
{
    fprintf(stderr, "swan %s: %s\nsee: swan %s --help\n", command->name, swan_last_error(), command->name);
    return status == SWAN_E_INVALID ? CLI_USAGE : CLI_FAILED;
}
