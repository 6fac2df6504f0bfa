#include "pipe/usage.h"

#include <stdio.h>
#include <string.h>

#include "pipe/output.h"

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

uint64_t swan_usage_device(const swan_engine *e)
{
    uint64_t free_bytes, total_bytes;
    if (swan_engine_on_host(e) || e->device.backend->memory(&e->device, &free_bytes, &total_bytes)) return 0;
    return total_bytes - free_bytes;
}

void swan_usage_fill(const struct swan_session *s, swan_report *report)
{
    const swan_engine *e = s->engine;
    report->session_bytes = s->state_arena.size + s->activations.size;
    report->process_peak_bytes = swan_usage_peak();
    report->device_bytes = swan_engine_on_host(e) ? 0 : e->weights.size + report->session_bytes;
    report->device_base_bytes = e->device_base_bytes;
    report->device_peak_bytes = swan_usage_device(e); /* nothing of ours is given back before the session closes */
}

/* The driver gives out device memory in pieces of this size. */
#define DEVICE_PIECE ((uint64_t)2 << 20)
/* Code of our kernels and of cuBLASLt's, loaded when first used, and the graphs: what a run adds to its arenas. */
#define DEVICE_CODE ((uint64_t)16 << 20)

/* What a run adds to the host beside what is counted: code of ours and of libraries when it is first used (OpenBLAS, libav, x264:
 * measured 5.3 MiB), stacks and small blocks (0.7 MiB with two threads). */
#define HOST_CODE ((uint64_t)6 << 20)

static uint64_t pieces(uint64_t bytes) { return (bytes + DEVICE_PIECE - 1) / DEVICE_PIECE * DEVICE_PIECE; }

/* What stays of the checkpoints' files in the process's memory: a page that was read is not given back. */
static uint64_t file_bytes(const swan_engine *e, const swan_plan *plan)
{
    const swan_component *const parts[] = {&e->text_part, &e->dit_part, &e->taehv_part};
    uint64_t whole = 0, read = plan->mapped_bytes;
    for (int i = 0; i < 3; i++) {
        if (!parts[i]->ckpt) continue;
        whole += swan_ckpt_mapped_bytes(parts[i]->ckpt);
        read += parts[i]->source_bytes;
    }
    if (!swan_engine_on_host(e)) return whole; /* read once from end to end, to be copied */
    /* of the embedding table only the prompt's rows are read */
    const swan_umt5_config *text = &e->umt5.config;
    uint64_t table = (uint64_t)text->vocab * (uint64_t)text->width * swan_dtype_bytes(e->umt5.embedding.dtype);
    if (table <= e->text_part.mapped_bytes) read -= table; /* else it was converted, whole */
    return e->synthetic && read > whole ? whole : read; /* made-up weights lie over each other */
}

void swan_usage_predict(const struct swan_session *s, uint64_t untouched, swan_plan *plan)
{
    const swan_engine *e = s->engine;
    bool host = swan_engine_on_host(e);
    uint64_t ours = plan->arena_bytes + plan->session_bytes;
    plan->peak_bytes = e->host_weights.size + e->resident_bytes + file_bytes(e, plan) + plan->staging_bytes + swan_output_bytes(s) +
                       HOST_CODE;
    if (host) {
        plan->peak_bytes += ours - untouched;
        return;
    }
    plan->device_bytes = ours;
    plan->device_base_bytes = e->device_base_bytes;
    plan->device_peak_bytes = e->device_base_bytes + pieces(plan->arena_bytes) + pieces(plan->state_bytes) +
                              pieces(plan->session_bytes - plan->state_bytes) + DEVICE_CODE;
}
