/* The commands of the program; main.c has their table. */
#ifndef SWAN_CLI_COMMANDS_H
#define SWAN_CLI_COMMANDS_H

#include "cli/args.h"

int cmd_generate(const cli_command *command, int argc, char **argv);
int cmd_plan(const cli_command *command, int argc, char **argv);
int cmd_info(const cli_command *command, int argc, char **argv);
int cmd_inspect(const cli_command *command, int argc, char **argv);
int cmd_kernels(const cli_command *command, int argc, char **argv);
int cmd_bench(const cli_command *command, int argc, char **argv);
#ifdef SWAN_WITH_VERIFY
int cmd_verify(const cli_command *command, int argc, char **argv);
#endif
#ifdef SWAN_WITH_HUB
int cmd_pull(const cli_command *command, int argc, char **argv);
int cmd_models(const cli_command *command, int argc, char **argv);
int cmd_rm(const cli_command *command, int argc, char **argv);
#endif
#ifdef SWAN_WITH_SERVER
int cmd_serve(const cli_command *command, int argc, char **argv);
int cmd_worker(int argc, char **argv); /* not in the table: serve starts it */
#endif
int cmd_man(const cli_command *command, int argc, char **argv);
int cmd_completion(const cli_command *command, int argc, char **argv);

/* The table, ended by a name of NULL; for help and completion. */
extern const cli_command cli_commands[];

#endif
