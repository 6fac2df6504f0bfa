#include "pipe/residency.h"

const char *swan_part_name(int part)
{
    static const char *const names[SWAN_PARTS] = {"blocks", "groups of text projections", "text layers", "embedding"};
    return names[part];
}

/* What it takes to have so many layers away. */
static swan_residency weigh(const swan_residency_sizes *s, const int away[SWAN_PARTS])
{
    swan_residency r = {.device_bytes = s->fixed_bytes};
    int set = 0;
    for (int p = 0; p < SWAN_PARTS; p++) {
        const swan_part_size *part = &s->part[p];
        r.away[p] = away[p];
        r.device_bytes += (uint64_t)(part->layers - away[p]) * part->bytes;
        r.bus_bytes += (double)away[p] * (double)part->bytes * part->uses;
        set |= (away[p] > 0) << p;
    }
    r.device_bytes += s->session_bytes[set];
    return r;
}

/* The next of all ways, the last part first; false behind the last one. */
static bool next(const swan_residency_sizes *s, int away[SWAN_PARTS])
{
    for (int p = SWAN_PARTS - 1; p >= 0; p--) {
        if (++away[p] <= s->part[p].layers) return true;
        away[p] = 0;
    }
    return false;
}

/* Every way is looked at: a few ten thousand, and a greedy one would not fill what is left over by large layers. */
bool swan_residency_choose(const swan_residency_sizes *sizes, uint64_t allowed, swan_residency *out)
{
    int away[SWAN_PARTS] = {0};
    bool any = false, first = true;
    do { /* among equals the first: the fewest blocks away */
        swan_residency r = weigh(sizes, away);
        bool fits = r.device_bytes <= allowed, better;
        if (fits != any) better = fits;
        else better = fits ? r.bus_bytes < out->bus_bytes : r.device_bytes < out->device_bytes;
        if (first || better) *out = r;
        any |= fits;
        first = false;
    } while (next(sizes, away));
    return any;
}
