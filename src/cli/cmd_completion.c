#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "cli/commands.h"

int cmd_completion(const cli_command *command, int argc, char **argv)
{
    cli_args args;
    swan_status status = cli_parse(command, NULL, argc, argv, &args);
    bool help = args.help, bash = args.positional_count == 1 && !strcmp(args.positional[0], "bash");
    cli_args_free(&args);
    if (!status && !help && !bash) status = SWAN_FAIL(SWAN_E_INVALID, "wanted: swan completion bash");
    if (status || help) return status ? cli_usage(command, status) : CLI_OK;
    printf("_swan() {\n  local word=${COMP_WORDS[COMP_CWORD]}\n  if [ \"$COMP_CWORD\" = 1 ]; then\n    COMPREPLY=($(compgen -W \"");
    for (const cli_command *c = cli_commands; c->name; c++) printf("%s ", c->name);
    printf("--help --version\" -- \"$word\"))\n    return\n  fi\n  case ${COMP_WORDS[1]} in\n");
    for (const cli_command *c = cli_commands; c->name; c++) {
        printf("    %s) COMPREPLY=($(compgen -W \"--help %s ", c->name, c->own);
        const swan_option *o;
        for (size_t i = 0; (o = swan_option_at(i)) != NULL; i++)
            if (o->flag && (o->groups & c->groups)) printf("%s ", o->flag);
        printf("\" -- \"$word\")) ;;\n");
    }
    printf("  esac\n}\ncomplete -o default -F _swan swan\n");
    return CLI_OK;
}
