/* Invariants
 * 1. One lock. A waiter is suspended and resumed under it, so that news between "nothing new" and the suspension is not lost.
 * 2. A connection is resumed only while it is suspended, each time once.
 * 3. Progress of a slot rises from begin to end; 100 is never said here, because only a completed row is 100. */
#include "server/events.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <microhttpd.h>

struct slot {
    swan_live live; /* id "": nothing runs here */
    char *preview;
};

struct swan_events {
    pthread_mutex_t lock;
    swan_waiter *first;
    int slots;
    struct slot slot[];
};

swan_status swan_events_open(int slots, swan_events **out)
{
    *out = calloc(1, sizeof **out + (size_t)slots * sizeof(struct slot));
    if (!*out) return SWAN_FAIL(SWAN_E_NOMEM, "events: out of memory");
    (*out)->slots = slots;
    pthread_mutex_init(&(*out)->lock, NULL);
    return SWAN_OK;
}

void swan_events_close(swan_events *e)
{
    if (!e) return;
    for (int i = 0; i < e->slots; i++) free(e->slot[i].preview);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

/* ---- news; all under the lock ---- */

static void wake(swan_waiter *w)
{
    w->news = true;
    if (!w->suspended) return;
    w->suspended = false;
    MHD_resume_connection(w->connection);
}

static void wake_job(swan_events *e, const char *id)
{
    for (swan_waiter *w = e->first; w; w = w->next)
        if (!id || !strcmp(w->id, id)) wake(w);
}

static struct slot *find(swan_events *e, const char *id)
{
    for (int i = 0; i < e->slots; i++)
        if (e->slot[i].live.id[0] && !strcmp(e->slot[i].live.id, id)) return &e->slot[i];
    return NULL;
}

void swan_events_begin(swan_events *e, int slot, const char *id)
{
    struct slot *s = &e->slot[slot];
    pthread_mutex_lock(&e->lock);
    free(s->preview);
    *s = (struct slot){.live = {.phase = "start", .remaining_s = -1}};
    snprintf(s->live.id, sizeof s->live.id, "%s", id);
    wake_job(e, id);
    pthread_mutex_unlock(&e->lock);
}

void swan_events_progress(swan_events *e, int slot, const swan_live *live)
{
    struct slot *s = &e->slot[slot];
    pthread_mutex_lock(&e->lock);
    if (s->live.id[0]) {
        s->live.phase = live->phase;
        s->live.step = live->step;
        s->live.steps = live->steps;
        s->live.remaining_s = live->remaining_s;
        int progress = live->progress > 99 ? 99 : live->progress;
        if (progress > s->live.progress) s->live.progress = progress;
        wake_job(e, s->live.id);
    }
    pthread_mutex_unlock(&e->lock);
}

void swan_events_preview(swan_events *e, int slot, char *image, int step, int steps)
{
    struct slot *s = &e->slot[slot];
    pthread_mutex_lock(&e->lock);
    if (s->live.id[0]) {
        free(s->preview);
        s->preview = image;
        s->live.preview_step = step;
        s->live.preview_steps = steps;
        wake_job(e, s->live.id);
        image = NULL;
    }
    pthread_mutex_unlock(&e->lock);
    free(image);
}

void swan_events_end(swan_events *e, int slot)
{
    struct slot *s = &e->slot[slot];
    char id[SWAN_JOB_ID_MAX];
    pthread_mutex_lock(&e->lock);
    memcpy(id, s->live.id, sizeof id);
    free(s->preview);
    *s = (struct slot){0};
    if (id[0]) wake_job(e, id);
    pthread_mutex_unlock(&e->lock);
}

void swan_events_notify(swan_events *e, const char *id)
{
    pthread_mutex_lock(&e->lock);
    wake_job(e, id);
    pthread_mutex_unlock(&e->lock);
}

void swan_events_wake_all(swan_events *e)
{
    pthread_mutex_lock(&e->lock);
    wake_job(e, NULL);
    pthread_mutex_unlock(&e->lock);
}

int swan_events_waiting(swan_events *e, int *suspended)
{
    int joined = 0;
    *suspended = 0;
    pthread_mutex_lock(&e->lock);
    for (const swan_waiter *w = e->first; w; w = w->next) {
        joined++;
        *suspended += w->suspended;
    }
    pthread_mutex_unlock(&e->lock);
    return joined;
}

/* ---- looking ---- */

bool swan_events_look(swan_events *e, const char *id, swan_live *out)
{
    pthread_mutex_lock(&e->lock);
    const struct slot *s = find(e, id);
    *out = s ? s->live : (swan_live){0};
    pthread_mutex_unlock(&e->lock);
    return s != NULL;
}

char *swan_events_take_preview(swan_events *e, const char *id, int seen, int *step, int *steps)
{
    char *copy = NULL;
    pthread_mutex_lock(&e->lock);
    const struct slot *s = find(e, id);
    if (s && s->preview && s->live.preview_step != seen) {
        copy = strdup(s->preview);
        *step = s->live.preview_step;
        *steps = s->live.preview_steps;
    }
    pthread_mutex_unlock(&e->lock);
    return copy;
}

/* ---- waiting ---- */

void swan_events_join(swan_events *e, swan_waiter *w, const char *id, struct MHD_Connection *connection)
{
    *w = (swan_waiter){.connection = connection, .news = true, .joined = true};
    snprintf(w->id, sizeof w->id, "%s", id);
    pthread_mutex_lock(&e->lock);
    w->next = e->first;
    if (w->next) w->next->previous = w;
    e->first = w;
    pthread_mutex_unlock(&e->lock);
}

void swan_events_leave(swan_events *e, swan_waiter *w)
{
    pthread_mutex_lock(&e->lock);
    if (w->joined) {
        if (w->previous) w->previous->next = w->next;
        else e->first = w->next;
        if (w->next) w->next->previous = w->previous;
        w->joined = false;
    }
    pthread_mutex_unlock(&e->lock);
}

bool swan_events_wait(swan_events *e, swan_waiter *w)
{
    pthread_mutex_lock(&e->lock);
    bool wait = !w->news;
    w->news = false;
    if (wait) {
        w->suspended = true;
        MHD_suspend_connection(w->connection);
    }
    pthread_mutex_unlock(&e->lock);
    return wait;
}
