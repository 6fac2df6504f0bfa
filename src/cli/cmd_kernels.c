#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "kernel/table.h"

static void arch_names(unsigned mask, char *buf, size_t n)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {{SWAN_ARCH_CPU, "cpu"},    {SWAN_ARCH_SM80, "80"},   {SWAN_ARCH_SM86, "86"},  {SWAN_ARCH_SM89, "89"},
                 {SWAN_ARCH_SM90, "90"},    {SWAN_ARCH_SM100, "100"}, {SWAN_ARCH_SM120, "120"}};
    buf[0] = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t used = strlen(buf);
        if (mask & names[i].bit) snprintf(buf + used, n - used, "%s%s", used ? "," : "", names[i].name);
    }
}

int cmd_kernels(const cli_command *command, int argc, char **argv)
{
    cli_args args;
    swan_status status = cli_parse(command, NULL, argc, argv, &args);
    if (status || args.help) {
        int code = status ? cli_usage(command, status) : CLI_OK;
        cli_args_free(&args);
        return code;
    }
    swan_kernels picked;
    unsigned features = swan_kernel_cpu_features();
    status = swan_kernels_pick(SWAN_ARCH_CPU, SWAN_F32, features, swan_params_get(args.params, "kernels"), &picked);
    cli_args_free(&args);
    if (status) return cli_fail(status);
    printf("  %-20s %-10s %-6s %-20s %-20s %s\n", "slot", "variant", "format", "picked on", "tested on", "needs");
    const swan_kernel_row *row;
    for (size_t i = 0; (row = swan_kernel_row_at(i)) != NULL; i++) {
        char slot[48], on[48], tested[48];
        snprintf(slot, sizeof slot, "%s.%s", row->family, row->slot);
        arch_names(row->picked, on, sizeof on);
        arch_names(row->tested, tested, sizeof tested);
        const char *needs = row->cpu & SWAN_CPU_AVX512 ? "AVX-512" : row->cpu & SWAN_CPU_AVX2 ? "AVX2" : "";
        bool here = swan_kernels_row(&picked, row->id) == row;
        printf("%c %-20s %-10s %-6s %-20s %-20s %s%s\n", here ? '*' : ' ', slot, row->variant, swan_dtype_name(row->format), on, tested,
               needs, (row->cpu & ~features) ? " (not here)" : "");
    }
    printf("\n* picked on this machine; change with --kernels slot=variant,...\n");
    return CLI_OK;
}
