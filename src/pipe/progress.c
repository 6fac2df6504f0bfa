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

swan_status swan_clock_start(swan_clock *c, struct swan_session *s)
{
    *c = (swan_clock){.session = s, .start = now_s()};
    return swan_clock_mark(c, SWAN_MARK_START);
}

double swan_clock_total(const swan_clock *c) { return now_s() - c->start; }

swan_status swan_clock_mark(const swan_clock *c, int which)
{
    struct swan_session *s = c->session;
    return s->engine->device.backend->event_record(&s->stream, &s->mark[which]);
}

swan_status swan_clock_laps(const swan_clock *c, swan_report *report)
{
    const swan_event *mark = c->session->mark;
    const swan_backend *backend = c->session->engine->device.backend;
    report->total_s = swan_clock_total(c);
    SWAN_TRY(backend->event_elapsed(&mark[SWAN_MARK_START], &mark[SWAN_MARK_TEXT], &report->text_s));
    SWAN_TRY(backend->event_elapsed(&mark[SWAN_MARK_TEXT], &mark[SWAN_MARK_DENOISED], &report->denoise_s));
    report->decode_s = report->total_s - report->text_s - report->denoise_s;
    double decoding_s;
    SWAN_TRY(backend->event_elapsed(&mark[SWAN_MARK_DENOISED], &mark[SWAN_MARK_DECODED], &decoding_s));
    report->close_s = report->decode_s > decoding_s ? report->decode_s - decoding_s : 0;
    return SWAN_OK;
}

/* Share of the work that is done when `done` of `steps` steps of a phase are. */
static double fraction_at(const struct swan_session *s, swan_phase phase, double done, int steps)
{
    double before = 0, share = steps > 0 ? done / steps : 0;
    int index = (int)phase - SWAN_PHASE_TEXT;
    if (phase == SWAN_PHASE_DONE || s->total_flops <= 0) return 1;
    for (int i = 0; i < index; i++) before += s->phase_flops[i];
    return (before + share * s->phase_flops[index]) / s->total_flops;
}

static swan_status report(swan_clock *c, double done)
{
    struct swan_session *s = c->session;
    double fraction = fraction_at(s, c->phase, done, c->steps), elapsed = swan_clock_total(c);
    if (fraction > c->fraction) c->fraction = fraction;
    swan_progress p = {.phase = c->phase, .step = c->step, .steps = c->steps, .fraction = c->fraction, .elapsed_s = elapsed};
    p.remaining_s = c->fraction > 0.02 ? elapsed * (1 - c->fraction) / c->fraction : -1;
    bool go_on = !s->callbacks.progress || s->callbacks.progress(s->callbacks.user, &p);
    if (!go_on || atomic_load(&s->cancel)) return SWAN_FAIL(SWAN_E_CANCELLED, "cancelled");
    return SWAN_OK;
}

swan_status swan_clock_report(swan_clock *c, swan_phase phase, int step, int steps)
{
    c->phase = phase;
    c->step = step;
    c->steps = steps;
    return report(c, step);
}

swan_status swan_clock_report_part(swan_clock *c, double part) { return report(c, c->step + part); }
