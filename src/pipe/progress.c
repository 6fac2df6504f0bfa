#include "pipe/progress.h"

#include <time.h>

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const char *swan_phase_name(swan_phase phase)
{
    static const char *const names[] = {"load", "text", "denoise", "decode", "done"};
    return phase >= SWAN_PHASE_LOAD && phase <= SWAN_PHASE_DONE ? names[phase] : "unknown";
}

void swan_clock_start(swan_clock *c, struct swan_session *s)
{
    double now = now_s();
    *c = (swan_clock){.session = s, .start = now, .lap = now};
}

double swan_clock_lap(swan_clock *c)
{
    double now = now_s(), lap = now - c->lap;
    c->lap = now;
    return lap;
}

double swan_clock_total(const swan_clock *c) { return now_s() - c->start; }

/* Share of the work that is done at the beginning of step `step` of `steps` of a phase. */
static double fraction_at(const struct swan_session *s, swan_phase phase, int step, int steps)
{
    double before = 0, share = steps > 0 ? (double)step / steps : 0;
    int index = (int)phase - SWAN_PHASE_TEXT;
    if (phase == SWAN_PHASE_DONE || s->total_flops <= 0) return 1;
    for (int i = 0; i < index; i++) before += s->phase_flops[i];
    return (before + share * s->phase_flops[index]) / s->total_flops;
}

swan_status swan_clock_report(swan_clock *c, swan_phase phase, int step, int steps)
{
    struct swan_session *s = c->session;
    double fraction = fraction_at(s, phase, step, steps), elapsed = swan_clock_total(c);
    if (fraction > c->fraction) c->fraction = fraction;
    swan_progress p = {.phase = phase, .step = step, .steps = steps, .fraction = c->fraction, .elapsed_s = elapsed};
    p.remaining_s = c->fraction > 0.02 ? elapsed * (1 - c->fraction) / c->fraction : -1;
    bool go_on = !s->callbacks.progress || s->callbacks.progress(s->callbacks.user, &p);
    if (!go_on || atomic_load(&s->cancel)) return SWAN_FAIL(SWAN_E_CANCELLED, "cancelled");
    return SWAN_OK;
}
