/* Arguments of a command: the library's options (swan_option_at), plus a few flags of the command line alone. */
#ifndef SWAN_CLI_ARGS_H
#define SWAN_CLI_ARGS_H

#include <swan/swan.h>

#define CLI_MAX_POSITIONAL 8

/* A flag that only the command line knows. Exactly one target is set. */
typedef struct cli_flag {
    const char *flag;   /* "--json" */
    const char *value;  /* what it takes; NULL: a switch */
    const char *help;
    bool *on;
    const char **text;
} cli_flag;

typedef struct cli_command {
    const char *name, *synopsis, *summary;
    const char *details;  /* further paragraphs of --help; NULL: none */
    unsigned groups;      /* which library options it takes: SWAN_GROUP_* */
    int positional;       /* most arguments without a flag */
    int (*run)(const struct cli_command *command, int argc, char **argv);
    const char *own;      /* the flags that it gives to cli_parse, for completion: "--json --quiet" */
} cli_command;

typedef struct cli_args {
    swan_params *params; /* freed by cli_args_free */
    const char *positional[CLI_MAX_POSITIONAL];
    int positional_count;
    bool help;           /* --help was there and has been printed */
} cli_args;

/* Exit statuses. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_CANCELLED = 130 };

/* Parses argv[0 .. argc) (without the command). flags ends with a flag of NULL; may be NULL. On failure the message is that of
 * swan_last_error. --help prints the page and sets help. */
swan_status cli_parse(const cli_command *command, const cli_flag *flags, int argc, char **argv, cli_args *out);
void cli_args_free(cli_args *args);
/* What somebody may have meant: name NULL: nothing is near. */
typedef struct cli_guess {
    const char *name;
    int distance;
} cli_guess;
/* Takes name as the guess when it is nearer to typed[0 .. length) than the one before. */
void cli_nearest(const char *typed, size_t length, const char *name, cli_guess *guess);
/* Prints "swan: message" for a failure and returns the exit status. */
int cli_fail(swan_status status);
/* For wrong arguments: the message and where help is. */
int cli_usage(const cli_command *command, swan_status status);

#endif
