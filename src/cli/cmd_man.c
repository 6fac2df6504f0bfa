/* The manual page, made from what --help says: one source for both. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "cli/commands.h"

/* Copies text as it stands: no line of it may look like a request, no backslash like an escape. */
static void print_verbatim(FILE *from)
{
    int previous = '\n';
    for (int c; (c = fgetc(from)) != EOF; previous = c) {
        if (previous == '\n' && (c == '.' || c == '\'')) fputs("\\&", stdout);
        if (c == '\\') fputs("\\e", stdout);
        else if (c == '-') fputs("\\-", stdout);
        else putchar(c);
    }
}

/* One command's help page as a section: its --help is run with standard output in a temporary file. */
static swan_status print_section(const cli_command *c)
{
    static char flag[] = "--help";
    char *argv[] = {flag, NULL};
    FILE *page = tmpfile();
    fflush(stdout);
    int out = dup(STDOUT_FILENO);
    if (!page || out < 0 || dup2(fileno(page), STDOUT_FILENO) < 0) {
        if (page) fclose(page);
        if (out >= 0) close(out);
        return SWAN_FAIL(SWAN_E_IO, "man: no temporary file");
    }
    c->run(c, 1, argv);
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    close(out);
    rewind(page);
    printf(".SS swan %s\n.nf\n", c->name);
    print_verbatim(page);
    printf(".fi\n");
    fclose(page);
    return SWAN_OK;
}

int cmd_man(const cli_command *command, int argc, char **argv)
{
    cli_args args;
    swan_status status = cli_parse(command, NULL, argc, argv, &args);
    bool help = args.help;
    cli_args_free(&args);
    if (status || help) return status ? cli_usage(command, status) : CLI_OK;
    printf(".TH SWAN 1 \"\" \"Swan %s\" \"User Commands\"\n.SH NAME\nswan \\- text to video on your own machine\n", swan_version());
    printf(".SH SYNOPSIS\n.B swan\n.I COMMAND\n[options]\n.SH DESCRIPTION\nMakes videos from prompts with Wan and FastWan models, on this "
           "machine, without a Python stack.\n.SH COMMANDS\n");
    for (const cli_command *c = cli_commands; c->name && !status; c++)
        if (c != command) status = print_section(c);
    printf(".SH EXIT STATUS\n0: done. 1: failed. 2: wrong usage. 130: stopped on request.\n");
    return cli_fail(status);
}
