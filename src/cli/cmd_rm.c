#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "cli/commands.h"
#include "cli/show.h"
#include "hub/hub.h"

/* False unless somebody at a terminal said yes. */
static bool agreed(const swan_hub_model *m)
{
    char bytes[32], answer[16];
    fprintf(stderr, "remove %s (%s in %s)? [y/N] ", m->repository, cli_bytes(m->bytes, bytes, sizeof bytes), m->directory);
    if (!fgets(answer, sizeof answer, stdin)) return false;
    return answer[0] == 'y' || answer[0] == 'Y';
}

int cmd_rm(const cli_command *command, int argc, char **argv)
{
    bool yes = false;
    const cli_flag flags[] = {{"--yes", NULL, "do not ask", &yes, NULL}, {NULL, NULL, NULL, NULL, NULL}};
    cli_args args;
    swan_hub_model model;
    swan_status s = cli_parse(command, flags, argc, argv, &args);
    if (!s && !args.help && !args.positional_count) s = SWAN_FAIL(SWAN_E_INVALID, "which model? `swan models` lists them");
    if (s || args.help) {
        int code = s ? cli_usage(command, s) : CLI_OK;
        cli_args_free(&args);
        return code;
    }
    s = swan_hub_find(args.positional[0], &model);
    cli_args_free(&args);
    if (s) return cli_fail(s);
    if (!yes && !isatty(STDIN_FILENO))
        return cli_usage(command, SWAN_FAIL(SWAN_E_INVALID, "nobody can be asked here: --yes removes %s", model.repository));
    if (!yes && !agreed(&model)) {
        fprintf(stderr, "nothing was removed\n");
        return CLI_FAILED;
    }
    s = swan_hub_remove(model.repository);
    if (!s) fprintf(stderr, "%s was removed\n", model.repository);
    return cli_fail(s);
}
