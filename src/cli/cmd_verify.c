#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "cli/commands.h"
#include "cli/verify.h"

static swan_status read_device(const char *name, verify_options *o)
{
    o->cpu = !*name || !strcmp(name, "auto") || !strcmp(name, "cpu");
    o->gpu = !*name || strcmp(name, "cpu") != 0;
    bool numbered = !strncmp(name, "cuda:", 5) && name[5] && strlen(name) < 8 && strspn(name + 5, "0123456789") == strlen(name + 5);
    if (numbered) o->index = (int)strtol(name + 5, NULL, 10);
    if (o->cpu || !strcmp(name, "cuda") || numbered) return SWAN_OK;
    return SWAN_FAIL(SWAN_E_INVALID, "--device: wanted auto, cpu, cuda or cuda:N, found \"%s\"", name);
}

static swan_status read_seed(const char *text, uint64_t *seed)
{
    char *end;
    *seed = strtoull(text, &end, 10);
    return *text && *text != '-' && !*end ? SWAN_OK : SWAN_FAIL(SWAN_E_INVALID, "--seed: wanted a number, found \"%s\"", text);
}

int cmd_verify(const cli_command *command, int argc, char **argv)
{
    const char *device = "", *seed = "1";
    verify_options options = {0};
    const cli_flag flags[] = {{"--device", "NAME", "cpu, cuda or cuda:N [the CPU, and a GPU where there is one]", NULL, &device},
                              {"--only", "TEXT", "rows whose name, such as attn.dense=sm90 (BF16), contains TEXT", NULL, &options.only},
                              {"--seed", "N", "of the random operands [1]", NULL, &seed},
                              {NULL, NULL, NULL, NULL, NULL}};
    cli_args args;
    swan_status status = cli_parse(command, flags, argc, argv, &args);
    if (!status && !args.help) status = read_device(device, &options);
    if (!status && !args.help) status = read_seed(seed, &options.seed);
    int code = status ? cli_usage(command, status) : CLI_OK;
    if (!status && !args.help) code = verify_kernels(&options) ? CLI_FAILED : CLI_OK;
    cli_args_free(&args);
    return code;
}
