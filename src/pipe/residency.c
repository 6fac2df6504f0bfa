#include "pipe/residency.h"

const char *swan_part_name(int part)
{
    static const char *const names[SWAN_PARTS] = {"blocks", "groups of text projections", "text layers", "embedding"};
    return names[part];
}

/* With the parts of `set` streamed, a layer of each at least: room goes to the others first, then to theirs in order. Returns false when
 * there is not enough even so; *out then says what would be. */
static bool fill(const swan_residency_sizes *s, int set, uint64_t allowed, swan_residency *out)
{
    *out = (swan_residency){.device_bytes = s->fixed_bytes + s->session_bytes[set]};
    for (int p = 0; p < SWAN_PARTS; p++)
        if (!(set >> p & 1)) out->device_bytes += (uint64_t)s->part[p].layers * s->part[p].bytes;
    bool fits = out->device_bytes <= allowed;
    uint64_t left = fits ? allowed - out->device_bytes : 0;
    for (int p = 0; p < SWAN_PARTS; p++) {
        const swan_part_size *part = &s->part[p];
        if (!(set >> p & 1)) continue;
        uint64_t most = (uint64_t)part->layers - 1, fit = part->bytes ? left / part->bytes : most, stay = fit < most ? fit : most;
        left -= stay * part->bytes;
        out->device_bytes += stay * part->bytes;
        out->away[p] = part->layers - (int)stay;
        out->bus_bytes += (double)out->away[p] * (double)part->bytes * part->uses;
    }
    return fits;
}

bool swan_residency_choose(const swan_residency_sizes *sizes, uint64_t allowed, swan_residency *out)
{
    bool any = false;
    for (int set = 0; set < SWAN_RESIDENCIES; set++) { /* among equals the first: the fewest parts streamed */
        swan_residency r;
        bool fits = fill(sizes, set, allowed, &r), better;
        if (fits != any) better = fits;
        else better = fits ? r.bus_bytes < out->bus_bytes : r.device_bytes < out->device_bytes;
        if (set == 0 || better) *out = r;
        any |= fits;
    }
    return any;
}
