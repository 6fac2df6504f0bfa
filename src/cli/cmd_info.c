/* info: a model as JSON; inspect: the recipe inside a video. */
#include <stdio.h>

#include "base/status.h"
#include "cli/commands.h"

static swan_status describe(cli_args *args, char **json)
{
    if (args->positional_count) SWAN_TRY(swan_params_set(args->params, "model", args->positional[0]));
    swan_engine *engine;
    SWAN_TRY(swan_engine_open(args->params, NULL, &engine));
    swan_status status = swan_engine_describe(engine, json);
    swan_engine_close(engine);
    return status;
}

static swan_status inspect(cli_args *args, char **json)
{
    if (!args->positional_count) return SWAN_FAIL(SWAN_E_INVALID, "which file? usage: swan inspect FILE");
    return swan_inspect(args->positional[0], json);
}

static int print_json(const cli_command *command, int argc, char **argv, swan_status (*make)(cli_args *, char **))
{
    cli_args args;
    swan_status status = cli_parse(command, NULL, argc, argv, &args);
    if (status || args.help) {
        int code = status ? cli_usage(command, status) : CLI_OK;
        cli_args_free(&args);
        return code;
    }
    char *json = NULL;
    status = make(&args, &json);
    if (!status) puts(json);
    swan_string_free(json);
    cli_args_free(&args);
    return cli_fail(status);
}

int cmd_info(const cli_command *command, int argc, char **argv) { return print_json(command, argc, argv, describe); }
int cmd_inspect(const cli_command *command, int argc, char **argv) { return print_json(command, argc, argv, inspect); }
