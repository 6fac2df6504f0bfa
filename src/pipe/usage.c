#include "pipe/usage.h"

#include <stdio.h>
#include <string.h>

static uint64_t status_field(const char *field)
{
    FILE *f = fopen("/proc/self/status", "r");
    if (!f) return 0;
    char line[256];
    unsigned long long kib = 0;
    while (fgets(line, sizeof line, f))
        if (!strncmp(line, field, strlen(field)) && sscanf(line + strlen(field), " %llu", &kib) == 1) break;
    fclose(f);
    return (uint64_t)kib * 1024;
}

uint64_t swan_usage_resident(void) { return status_field("VmRSS:"); }
uint64_t swan_usage_peak(void) { return status_field("VmHWM:"); }

void swan_usage_fill(const struct swan_session *s, swan_report *report)
{
    report->session_bytes = s->state_arena.size + s->activations.size;
    report->process_peak_bytes = swan_usage_peak();
}

/* The H.264 encoder keeps about this many frames (lookahead, references, reordering) and the queue its own. */
#define ENCODER_FRAMES 60

void swan_usage_predict(const struct swan_session *s, uint64_t untouched, swan_plan *plan)
{
    const swan_umt5_config *text = &s->engine->umt5.config;
    /* of the embedding table only the prompt's rows are read */
    uint64_t table = (uint64_t)text->vocab * (uint64_t)text->width * swan_dtype_bytes(s->engine->umt5.embedding.dtype);
    if (table > plan->mapped_bytes) table = 0;
    uint64_t frame = (uint64_t)s->size.width * (uint64_t)s->size.height * 3 / 2;
    plan->peak_bytes = s->engine->resident_bytes + plan->mapped_bytes - table + plan->arena_bytes + plan->session_bytes + plan->staging_bytes - untouched +
                       frame * ENCODER_FRAMES;
}
