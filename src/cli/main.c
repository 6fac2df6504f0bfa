/* swan: the program. One table of commands; each has its own file. */
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "cli/commands.h"

#define ALL (SWAN_GROUP_MODEL | SWAN_GROUP_VIDEO | SWAN_GROUP_OUTPUT)

const cli_command cli_commands[] = {
    {"generate", "[PROMPT] [options]", "Makes a video from a prompt.",
     "Without -m the built-in tinyworld model is used. The seed that was used is printed and stored in the file, so that the\n"
     "same settings make the same video again.", ALL, 1, cmd_generate, "--json --quiet"},
    {"plan", "[PROMPT] [options]", "Shows what a run would need, before running it: memory and work of each phase.",
     "The bytes of a session are those reserved for the longest prompt. With a prompt, the work of the phases and the expected\n"
     "peak are those of that prompt.", ALL, 1, cmd_plan, "--json"},
    {"info", "[DIR]", "Shows what a model is: its parts, its recipe and which rule chose it.", NULL, SWAN_GROUP_MODEL, 1, cmd_info, ""},
    {"inspect", "FILE", "Shows the recipe that a video made by Swan carries.", NULL, 0, 1, cmd_inspect, ""},
    {"kernels", "[options]", "Lists the kernels of every slot and which one is picked here.", NULL, SWAN_GROUP_MODEL, 0, cmd_kernels, ""},
    {"bench", "[options]", "Runs a model several times and shows the time of each phase.",
     "The first run is reported as cold, the others as warm: median, fastest and slowest; with rates, and on GPUs that were measured their\n"
     "share of what is possible. --weights random -m NAME needs no files. Encoding is measured with -o FILE.", ALL, 1, cmd_bench,
     "--runs --tokens --json"},
#ifdef SWAN_WITH_VERIFY
    {"verify", "[options]", "Checks every kernel on this machine against a reference in fp64.",
     "A line for each kernel; a few minutes in all. Fails when one is wrong, which means a faulty machine, driver or build.", 0, 0, cmd_verify,
     "--device --only --seed"},
#endif
#ifdef SWAN_WITH_HUB
    {"pull", "NAME|OWNER/NAME [options]", "Downloads a published checkpoint into the cache, for -m NAME.",
     "Only what Swan reads is fetched, at one commit, and verified. An interrupted pull goes on where it stopped. HF_TOKEN and\n"
     "HF_ENDPOINT name a token and another hub, http_proxy and its kin a proxy, SWAN_CACHE where models go.", 0, 1, cmd_pull,
     "--revision --update --taehv --jobs --retries --timeout --json --quiet"},
    {"models", "[options]", "Lists the models that are here and those that can be pulled.", NULL, 0, 0, cmd_models, "--json"},
    {"rm", "NAME [options]", "Removes a pulled model, and what an unfinished pull of it left.", NULL, 0, 1, cmd_rm, "--yes"},
#endif
#ifdef SWAN_WITH_SERVER
    {"serve", "[options]", "Serves a model over HTTP: the OpenAI Videos API, and a page to use it from.",
     "http://127.0.0.1:7926/ is the page. Jobs and videos are kept in --data and survive a crash. SIGTERM lets running videos end;\n"
     "a second one does not. More than one name in --device, separated by commas, makes as many workers. See docs/serve.md.",
     SWAN_GROUP_MODEL, 0, cmd_serve,
     "--host --port --data --api-key --api-key-file --allow-no-key --allow-host --cors-origin --alias --tls-cert --tls-key --metrics --quiet "
     "--queue --attempts --keep --max-stored --max-prompt --max-pixels --max-steps --max-body --connections --request-timeout "
     "--stall-timeout --cancel-grace --drain"},
#endif
    {"completion", "bash", "Prints a completion script for the shell: eval \"$(swan completion bash)\"", NULL, 0, 1, cmd_completion, ""},
    {"man", "", "Prints the manual page, for man(1): swan man | man -l -", NULL, 0, 0, cmd_man, ""},
    {NULL, NULL, NULL, NULL, 0, 0, NULL, NULL},
};

static void list_devices(void)
{
    swan_device_summary d;
    for (size_t i = 0; swan_device_at(i, &d); i++)
        printf("%-8s %-40s %6.1f GiB%s\n", d.name, d.description, (double)d.memory_bytes / 1073741824.0,
               d.usable ? "" : "  (no kernels in this build)");
}

static void print_usage(FILE *to)
{
    fprintf(to, "Swan %s: text to video on your own machine.\n\nusage: swan COMMAND [options]\n\n", swan_version());
    for (const cli_command *c = cli_commands; c->name; c++) fprintf(to, "  %-12s %s\n", c->name, c->summary);
    fprintf(to, "\n  swan COMMAND --help   options of a command\n  swan --version        the version\n"
                "  swan --list-devices   what --device can name\n");
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (!strcmp(name, "--version") || !strcmp(name, "version")) {
        printf("swan %s\n", swan_version());
        return CLI_OK;
    }
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
        print_usage(stdout);
        return CLI_OK;
    }
#ifdef SWAN_WITH_SERVER
    if (!strcmp(name, "worker")) return cmd_worker(argc - 2, argv + 2);
#endif
    if (!strcmp(name, "--list-devices")) {
        list_devices();
        return CLI_OK;
    }
    for (const cli_command *c = cli_commands; c->name; c++)
        if (!strcmp(c->name, name)) return c->run(c, argc - 2, argv + 2);
    if (!name[0]) {
        print_usage(stderr);
        return CLI_USAGE;
    }
    cli_guess guess = {0};
    for (const cli_command *c = cli_commands; c->name; c++) cli_nearest(name, strlen(name), c->name, &guess);
    fprintf(stderr, "swan: there is no command \"%s\"%s%s%s\nsee: swan --help\n", name, guess.name ? "; did you mean " : "",
            guess.name ? guess.name : "", guess.name ? "?" : "");
    return CLI_USAGE;
}
