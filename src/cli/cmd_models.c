#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "cli/commands.h"
#include "cli/show.h"
#include "hub/hub.h"

static bool is_here(const swan_hub_model *models, size_t count, const char *repository)
{
    for (size_t i = 0; i < count; i++)
        if (models[i].complete && !strcmp(models[i].repository, repository)) return true;
    return false;
}

static void print_json(const swan_hub_model *models, size_t count)
{
    printf("{\"built_in\":[\"tinyworld\"],\"pulled\":[");
    for (size_t i = 0; i < count; i++) {
        const swan_published *known = swan_cache_find_published(models[i].repository);
        printf("%s{\"repository\":\"%s\",\"alias\":", i ? "," : "", models[i].repository);
        if (known) cli_json_string(known->alias);
        else printf("null");
        printf(",\"complete\":%s,\"bytes\":%llu,\"revision\":\"%s\",\"directory\":", models[i].complete ? "true" : "false",
               (unsigned long long)models[i].bytes, models[i].revision);
        cli_json_string(models[i].directory);
        printf("}");
    }
    printf("],\"published\":[");
    const swan_published *p;
    for (size_t i = 0; (p = swan_cache_published(i)) != NULL; i++) {
        printf("%s{\"alias\":\"%s\",\"repository\":\"%s\",\"summary\":", i ? "," : "", p->alias, p->repository);
        cli_json_string(p->summary);
        printf("}");
    }
    printf("]}\n");
}

static void print_table(const swan_hub_model *models, size_t count)
{
    char bytes[32];
    printf("here (swan generate -m NAME)\n  %-46s built in\n", "tinyworld");
    for (size_t i = 0; i < count; i++) {
        const swan_hub_model *m = &models[i];
        cli_bytes(m->bytes, bytes, sizeof bytes);
        if (m->complete) printf("  %-46s %10s  commit %.12s\n", m->repository, bytes, m->revision[0] ? m->revision : "unknown");
        else printf("  %-46s %10s  incomplete: swan pull %s goes on\n", m->repository, bytes, m->repository);
    }
    printf("\npublished (swan pull NAME; any OWNER/NAME in the same layout works as well)\n");
    const swan_published *p;
    for (size_t i = 0; (p = swan_cache_published(i)) != NULL; i++)
        printf("  %-16s %-42s %s%s\n", p->alias, p->repository, p->summary, is_here(models, count, p->repository) ? " (here)" : "");
}

int cmd_models(const cli_command *command, int argc, char **argv)
{
    bool json = false;
    const cli_flag flags[] = {{"--json", NULL, "print one JSON object", &json, NULL}, {NULL, NULL, NULL, NULL, NULL}};
    cli_args args;
    swan_status s = cli_parse(command, flags, argc, argv, &args);
    bool help = args.help;
    cli_args_free(&args);
    if (s || help) return s ? cli_usage(command, s) : CLI_OK;
    swan_hub_model *models;
    size_t count;
    s = swan_hub_list(&models, &count);
    if (s) return cli_fail(s);
    if (json) print_json(models, count);
    else print_table(models, count);
    free(models);
    return CLI_OK;
}
