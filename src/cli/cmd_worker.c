/* worker: the process that makes the videos of `swan serve`, which starts it. Not a command for people, so not in the table. */
#include <stdio.h>
#include <sys/socket.h>

#include "base/status.h"
#include "cli/commands.h"
#include "server/child.h"

int cmd_worker(int argc, char **argv)
{
    static const cli_command command = {"worker", "[options]", "Makes the videos of swan serve, which starts it.", NULL, SWAN_GROUP_MODEL, 0, NULL, ""};
    int type;
    socklen_t size = sizeof type;
    if (getsockopt(SWAN_CHILD_FD, SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
        fprintf(stderr, "swan worker: is started by swan serve, not by hand\n");
        return CLI_USAGE;
    }
    cli_args args;
    swan_status status = cli_parse(&command, NULL, argc, argv, &args);
    int code = status || args.help ? cli_usage(&command, status) : swan_child_run(args.params, SWAN_CHILD_FD);
    cli_args_free(&args);
    return code;
}
