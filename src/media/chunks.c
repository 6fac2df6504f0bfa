/* Invariants, all under `lock`:
 * 1. Chunks form a list in the video's order. The writer fills the last one until it is `full`, and takes packets from the first one,
 *    which it frees once that is `done` and empty. From `unclaimed` on they have no thread yet.
 * 2. A frame is free, in the writer's hands (`filling`), in its chunk's queue, or in the hands of its chunk's thread; there are never
 *    more than frames_most. The writer waits for a frame only while some thread has work: a thread waits for frames of the last
 *    chunk alone, and then others have what is under way.
 * 3. Threads end when there is a `failure`, when `stop` is set, or when the video has ended and no chunk is unclaimed. */
#include "media/chunks.h"

#include <stdlib.h>
#include <string.h>

#include <libavcodec/avcodec.h>

#include "media/libav.h"
#include "media/thread.h"

typedef struct frame_node {
    struct frame_node *next;
    AVFrame *frame;
} frame_node;

typedef struct packet_node {
    struct packet_node *next;
    AVPacket *packet;
} packet_node;

typedef struct chunk {
    struct chunk *next;
    int64_t first, frames;   /* number of its first frame; how many were pushed */
    int64_t packets;         /* that its encoder has made */
    bool full, done;         /* no more frames; no more packets */
    frame_node *queue, **queue_end;
    packet_node *ready, **ready_end;
} chunk;

struct swan_chunks {
    swan_chunks_config config;
    pthread_mutex_t lock;
    pthread_cond_t to_threads, to_writer;
    pthread_t *threads;
    int running;                  /* threads that were started */
    AVCodecContext *first;        /* the encoder that came with open; NULL once a thread has it */
    int64_t opened, expected;     /* encoders so far; how many the video needs, 0 when nobody knows */
    uint8_t *parameters;          /* the video's parameter sets */
    int parameters_size;
    AVFrame *plain;               /* what a frame is like, without a buffer */
    chunk *chunks, *last, *unclaimed;
    int unclaimed_count, ready;   /* ready: threads that have an encoder, or are opening one, and no chunk */
    frame_node *free_frames, *filling;
    int frames_made;
    int64_t frames, taken, delay; /* frames pushed, packets taken, packets before the one with time 0 */
    bool ended, stop;
    swan_failure failure;
};

/* With the lock held. */
static void fail(swan_chunks *q, swan_status status)
{
    swan_status_keep(&q->failure, status);
    pthread_cond_broadcast(&q->to_threads);
    pthread_cond_broadcast(&q->to_writer);
}

static bool halted(const swan_chunks *q) { return q->failure.status || q->stop; }

/* ---- threads: frames to packets ---------------------------------------------------------------- */

/* x264 begins what it makes with an SEI message about itself, of 700 bytes: once in a video is enough. */
static void drop_banner(AVPacket *p)
{
    int at = p->size > 5 && !p->data[0] && !p->data[1] && p->data[2] == 1 ? 3 : 4;
    static const uint8_t banner[] = {0, 0, 0, 1, 6, 5}; /* start code, SEI, unregistered user data */
    if (p->size < 8 || memcmp(p->data + at - 3, banner + 1, 5) != 0) return;
    for (at += 2; at + 3 < p->size; at++)
        if (!p->data[at] && !p->data[at + 1] && p->data[at + 2] == 1) {
            at -= !p->data[at - 1];
            p->data += at;
            p->size -= at;
            return;
        }
}

/* A packet to its chunk. */
static swan_status hand_over(swan_chunks *q, chunk *c, AVPacket *packet)
{
    packet_node *node = malloc(sizeof *node);
    AVPacket *own = av_packet_alloc();
    if (!node || !own) {
        free(node);
        av_packet_free(&own);
        return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory for a packet of %d bytes", q->config.file, packet->size);
    }
    av_packet_move_ref(own, packet);
    if (c->packets == 0 && c->first > 0) drop_banner(own);
    *node = (packet_node){NULL, own};
    pthread_mutex_lock(&q->lock);
    c->packets++;
    *c->ready_end = node;
    c->ready_end = &node->next;
    pthread_cond_signal(&q->to_writer);
    pthread_mutex_unlock(&q->lock);
    return SWAN_OK;
}

/* Gives a frame (NULL: the end) to the encoder and whatever it has ready to the chunk. */
static swan_status feed(swan_chunks *q, chunk *c, AVCodecContext *x, const AVFrame *frame, AVPacket *packet)
{
    swan_libav_begin();
    int error = avcodec_send_frame(x, frame);
    while (error >= 0 && (error = avcodec_receive_packet(x, packet)) >= 0) SWAN_TRY(hand_over(q, c, packet));
    if (error == AVERROR(EAGAIN) || error == AVERROR_EOF) return SWAN_OK;
    return swan_libav_fail(SWAN_E_IO, error, q->config.file, "encoding");
}

/* Waits for the chunk's next frame: *node, NULL when there is no other. False: stop. */
static bool next_frame(swan_chunks *q, chunk *c, frame_node **node)
{
    pthread_mutex_lock(&q->lock);
    while (!halted(q) && !c->queue && !c->full) pthread_cond_wait(&q->to_threads, &q->lock);
    *node = c->queue;
    bool go_on = !halted(q);
    if (go_on && c->queue) {
        c->queue = c->queue->next;
        if (!c->queue) c->queue_end = &c->queue;
    }
    pthread_mutex_unlock(&q->lock);
    return go_on;
}

static void give_back(swan_chunks *q, frame_node *node)
{
    pthread_mutex_lock(&q->lock);
    node->next = q->free_frames;
    q->free_frames = node;
    pthread_cond_signal(&q->to_writer);
    pthread_mutex_unlock(&q->lock);
}

static void encode_chunk(swan_chunks *q, chunk *c, AVCodecContext *x)
{
    AVPacket *packet = av_packet_alloc();
    swan_status status = packet ? SWAN_OK : SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory for a packet", q->config.file);
    frame_node *node = NULL;
    bool go_on = true;
    for (int64_t i = 0; !status && (go_on = next_frame(q, c, &node)) && node; i++) {
        node->frame->pts = i;
        status = feed(q, c, x, node->frame, packet);
        give_back(q, node);
    }
    if (!status && go_on) status = feed(q, c, x, NULL, packet);
    av_packet_free(&packet);
    pthread_mutex_lock(&q->lock);
    if (status) fail(q, status);
    c->done = true;
    pthread_cond_signal(&q->to_writer);
    pthread_mutex_unlock(&q->lock);
}

/* An encoder for the next chunk. Called with the lock held, which it gives up for a while. */
static AVCodecContext *take_encoder(swan_chunks *q)
{
    AVCodecContext *x = q->first;
    q->first = NULL;
    if (x) return x;
    q->opened++;
    pthread_mutex_unlock(&q->lock);
    swan_status status = q->config.open(q->config.user, &x);
    if (!status && (x->extradata_size != q->parameters_size || memcmp(x->extradata, q->parameters, (size_t)q->parameters_size) != 0)) {
        status = SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: encoder %s gives every chunk other parameter sets, which one video cannot hold",
                           q->config.file, x->codec->name);
        avcodec_free_context(&x);
    }
    pthread_mutex_lock(&q->lock);
    if (status) fail(q, status);
    return x;
}

static void *work(void *arg)
{
    swan_chunks *q = arg;
    AVCodecContext *x = NULL;
    pthread_mutex_lock(&q->lock);
    while (!halted(q) && (q->unclaimed || !q->ended)) {
        chunk *c = q->unclaimed;
        if (!x && (q->first || q->opened < q->expected || q->ready < q->unclaimed_count)) { /* before there are frames, if possible */
            q->ready++;
            x = take_encoder(q);
        } else if (c && x) {
            q->unclaimed = c->next;
            q->unclaimed_count--;
            q->ready--;
            pthread_mutex_unlock(&q->lock);
            encode_chunk(q, c, x);
            avcodec_free_context(&x);
            pthread_mutex_lock(&q->lock);
        } else {
            pthread_cond_wait(&q->to_threads, &q->lock);
        }
    }
    pthread_mutex_unlock(&q->lock);
    avcodec_free_context(&x);
    return NULL;
}

/* ---- open, close ------------------------------------------------------------------------------- */

static swan_status no_memory(const swan_chunks *q) { return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory for the encoder", q->config.file); }

/* What all chunks share with the first encoder. */
static swan_status take_likeness(swan_chunks *q)
{
    const AVCodecContext *x = q->first;
    q->parameters_size = x->extradata_size;
    q->parameters = malloc((size_t)x->extradata_size + 1);
    q->plain = av_frame_alloc();
    q->threads = calloc((size_t)q->config.threads, sizeof *q->threads);
    if (!q->parameters || !q->plain || !q->threads) return no_memory(q);
    if (x->extradata_size) memcpy(q->parameters, x->extradata, (size_t)x->extradata_size);
    q->plain->format = x->pix_fmt;
    q->plain->width = x->width;
    q->plain->height = x->height;
    q->plain->color_range = x->color_range;
    q->plain->colorspace = x->colorspace;
    q->plain->color_primaries = x->color_primaries;
    q->plain->color_trc = x->color_trc;
    q->plain->chroma_location = x->chroma_sample_location;
    return SWAN_OK;
}

static swan_status start_threads(swan_chunks *q)
{
    for (; q->running < q->config.threads; q->running++) {
        int error = swan_thread_start(&q->threads[q->running], work, q);
        if (error) return SWAN_FAIL(SWAN_E_NOMEM, "%s: no thread for the encoder: %s", q->config.file, strerror(error));
    }
    return SWAN_OK;
}

swan_status swan_chunks_open(const swan_chunks_config *c, AVCodecContext *first, swan_chunks **out)
{
    *out = NULL;
    swan_chunks *q = calloc(1, sizeof *q);
    if (!q) {
        avcodec_free_context(&first);
        return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory for the encoder", c->file);
    }
    q->config = *c;
    q->first = first;
    q->opened = 1;
    if (c->length && c->frames > 0) q->expected = (c->frames + c->length - 1) / c->length;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->to_threads, NULL);
    pthread_cond_init(&q->to_writer, NULL);
    swan_status status = take_likeness(q);
    if (!status) status = start_threads(q);
    if (status) {
        swan_chunks_close(q);
        return status;
    }
    *out = q;
    return SWAN_OK;
}

static void free_frames(frame_node *node)
{
    while (node) {
        frame_node *next = node->next;
        av_frame_free(&node->frame);
        free(node);
        node = next;
    }
}

static void free_chunk(chunk *c)
{
    free_frames(c->queue);
    while (c->ready) {
        packet_node *next = c->ready->next;
        av_packet_free(&c->ready->packet);
        free(c->ready);
        c->ready = next;
    }
    free(c);
}

void swan_chunks_close(swan_chunks *q)
{
    if (!q) return;
    pthread_mutex_lock(&q->lock);
    q->stop = true;
    pthread_cond_broadcast(&q->to_threads);
    pthread_mutex_unlock(&q->lock);
    for (int i = 0; i < q->running; i++) pthread_join(q->threads[i], NULL);
    while (q->chunks) {
        chunk *next = q->chunks->next;
        free_chunk(q->chunks);
        q->chunks = next;
    }
    free_frames(q->free_frames);
    free_frames(q->filling);
    av_frame_free(&q->plain);
    avcodec_free_context(&q->first);
    pthread_cond_destroy(&q->to_writer);
    pthread_cond_destroy(&q->to_threads);
    pthread_mutex_destroy(&q->lock);
    free(q->parameters);
    free(q->threads);
    free(q);
}

/* ---- the writer: frames in --------------------------------------------------------------------- */

static swan_status make_frame(swan_chunks *q, frame_node **out)
{
    frame_node *node = calloc(1, sizeof *node);
    if (node) node->frame = av_frame_alloc();
    if (!node || !node->frame) {
        free(node);
        return no_memory(q);
    }
    node->frame->format = q->plain->format;
    node->frame->width = q->plain->width;
    node->frame->height = q->plain->height;
    int error = av_frame_copy_props(node->frame, q->plain);
    if (error >= 0) error = av_frame_get_buffer(node->frame, 0);
    if (error < 0) {
        free_frames(node);
        return swan_libav_fail(SWAN_E_BUG, error, q->config.file, "video frame");
    }
    q->frames_made++;
    *out = node;
    return SWAN_OK;
}

swan_status swan_chunks_frame(swan_chunks *q, AVFrame **frame)
{
    swan_libav_begin();
    pthread_mutex_lock(&q->lock);
    while (!halted(q) && !q->filling && !q->free_frames && q->frames_made == q->config.frames_most) pthread_cond_wait(&q->to_writer, &q->lock);
    swan_status status = swan_status_kept(&q->failure);
    if (!status && !q->filling && q->free_frames) {
        q->filling = q->free_frames;
        q->free_frames = q->filling->next;
        q->filling->next = NULL;
    }
    pthread_mutex_unlock(&q->lock);
    if (!status && !q->filling) status = make_frame(q, &q->filling);
    if (status) return status;
    int error = av_frame_make_writable(q->filling->frame); /* an encoder may still refer to what was in it */
    if (error < 0) return swan_libav_fail(SWAN_E_BUG, error, q->config.file, "video frame");
    *frame = q->filling->frame;
    return SWAN_OK;
}

/* The chunk that the next frame is for. With the lock held. */
static chunk *chunk_to_fill(swan_chunks *q)
{
    if (q->last && !q->last->full) return q->last;
    chunk *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->first = q->frames;
    c->queue_end = &c->queue;
    c->ready_end = &c->ready;
    if (q->last) q->last->next = c;
    else q->chunks = c;
    q->last = c;
    if (!q->unclaimed) q->unclaimed = c;
    q->unclaimed_count++;
    return c;
}

swan_status swan_chunks_push(swan_chunks *q)
{
    if (!q->filling || q->ended) return SWAN_BUG("%s: a frame pushed without one to fill, or after the end", q->config.file);
    pthread_mutex_lock(&q->lock);
    swan_status status = swan_status_kept(&q->failure);
    chunk *c = status ? NULL : chunk_to_fill(q);
    if (c) {
        *c->queue_end = q->filling;
        c->queue_end = &q->filling->next;
        q->filling = NULL;
        q->frames++;
        c->full = ++c->frames == q->config.length;
        pthread_cond_broadcast(&q->to_threads);
    } else if (!status) {
        status = no_memory(q);
    }
    pthread_mutex_unlock(&q->lock);
    return status;
}

void swan_chunks_end(swan_chunks *q)
{
    pthread_mutex_lock(&q->lock);
    q->ended = true;
    if (q->last) q->last->full = true;
    pthread_cond_broadcast(&q->to_threads);
    pthread_mutex_unlock(&q->lock);
}

/* ---- the writer: packets out ------------------------------------------------------------------- */

/* The packet's place in the whole video. */
static swan_status stamp(swan_chunks *q, const chunk *c, AVPacket *p)
{
    if (!q->config.length) return SWAN_OK; /* the encoder has seen the whole video */
    p->pts += c->first;
    if (q->taken == 0) q->delay = -p->dts;
    p->dts = q->taken++ - q->delay;
    if (p->dts <= p->pts) return SWAN_OK;
    return SWAN_BUG("%s: frame %lld is written too late: its time to be decoded is %lld", q->config.file, (long long)p->pts, (long long)p->dts);
}

/* The first chunk, finished, leaves the list. With the lock held. */
static swan_status drop_first(swan_chunks *q)
{
    chunk *c = q->chunks;
    if (q->config.length && c->packets != c->frames)
        return SWAN_FAIL(SWAN_E_IO, "%s: encoding: %lld frames came out of %lld", q->config.file, (long long)c->packets, (long long)c->frames);
    q->chunks = c->next;
    if (q->last == c) q->last = NULL;
    free_chunk(c);
    return SWAN_OK;
}

swan_status swan_chunks_packet(swan_chunks *q, AVPacket **packet)
{
    *packet = NULL;
    pthread_mutex_lock(&q->lock);
    swan_status status;
    chunk *c = NULL;
    while (!(status = swan_status_kept(&q->failure)) && (c = q->chunks) && !c->ready) {
        if (c->done) status = drop_first(q);
        else if (q->ended) pthread_cond_wait(&q->to_writer, &q->lock);
        else break;
        if (status) break;
    }
    packet_node *node = !status && c ? c->ready : NULL;
    if (node) {
        c->ready = node->next;
        if (!c->ready) c->ready_end = &c->ready;
        status = stamp(q, c, node->packet);
        *packet = node->packet;
        free(node);
    }
    pthread_mutex_unlock(&q->lock);
    if (status) av_packet_free(packet);
    return status;
}
