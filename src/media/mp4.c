/* Invariants:
 * 1. From open until close or abort, `temp` exists and nothing but libav's file handle writes to it.
 * 2. `path` is touched by swan_file_commit alone, after the trailer and every buffered byte were written without error.
 * 3. Bytes depend on frames and settings only: chunks are cut by numbers of frames, no date or random id is written.
 * 4. What encodes runs on threads of media/chunks.c; the container is the caller's thread's alone. */
#include "media/mp4.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

#include "base/file.h"
#include "base/pool.h"
#include "media/chunks.h"
#include "media/encoder.h"
#include "media/libav.h"
#include "media/yuv.h"

enum {
    THREADS_MOST = 8,
    FRAMES_AHEAD = 8, /* before an encoder that takes the whole video */
    /* What an encoder keeps: frames (lookahead, references, reordering) and the rest. Measured with libx264's veryfast and medium,
     * 832x480 and 1280x720; slices change nothing, because they share the frames */
    FRAMES_WITHIN = 48,
    BYTES_WITHIN = 4 << 20
};

struct swan_mp4 {
    char path[SWAN_PATH_MAX], temp[SWAN_PATH_MAX], url[SWAN_PATH_MAX + 8];
    swan_mp4_config config; /* for chunks: encoder by name, its preset, no metadata */
    char preset[32];
    bool has_temp, failed;
    int64_t frames;
    AVFormatContext *format;
    AVStream *stream; /* owned by format */
    AVRational time_base; /* of packets as they come from the encoder */
    swan_chunks *chunks;
};

/* ---- open -------------------------------------------------------------------------------------- */

static swan_status check_path(const char *path)
{
    const char *name = swan_path_name(path), *ending = strrchr(name, '.');
    if (!ending || ending == name || strcasecmp(ending, ".mp4") != 0)
        return SWAN_FAIL(SWAN_E_INVALID, "%s: cannot write this kind of file; supported: .mp4", path);
    return SWAN_OK;
}

static swan_status check_config(const char *path, const swan_mp4_config *c)
{
    if (c->width < 16 || c->height < 16 || c->width > 8192 || c->height > 8192 || c->width % 2 || c->height % 2)
        return SWAN_FAIL(SWAN_E_INVALID, "%s: video of %dx%d: wanted even numbers from 16 to 8192", path, c->width,
                         c->height);
    if (c->fps < 1 || c->fps > 240)
        return SWAN_FAIL(SWAN_E_INVALID, "%s: %d frames per second: wanted 1 to 240", path, c->fps);
    if (c->quality < 0 || c->quality > 51)
        return SWAN_FAIL(SWAN_E_INVALID, "%s: video quality %d: wanted 1 (best) to 51, or 0 for the default", path,
                         c->quality);
    return SWAN_OK;
}

static swan_status open_container(swan_mp4 *m, const swan_mp4_config *c, const AVCodecContext *x)
{
    int error = avformat_alloc_output_context2(&m->format, NULL, "mp4", m->url);
    if (error < 0) return swan_libav_fail(SWAN_E_UNSUPPORTED, error, m->path, "mp4 writer");
    m->stream = avformat_new_stream(m->format, NULL);
    if (!m->stream) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory for the mp4 writer", m->path);
    m->stream->time_base = m->time_base = x->time_base;
    m->stream->avg_frame_rate = x->framerate;
    m->format->flags |= AVFMT_FLAG_BITEXACT; /* no tag with libav's version */
    error = avcodec_parameters_from_context(m->stream->codecpar, x);
    if (error >= 0) error = av_dict_set(&m->stream->metadata, "encoder", "Swan " SWAN_VERSION, 0);
    if (error >= 0 && c->title) error = av_dict_set(&m->format->metadata, "title", c->title, 0);
    if (error >= 0 && c->comment_json) error = av_dict_set(&m->format->metadata, "comment", c->comment_json, 0);
    if (error < 0) return swan_libav_fail(SWAN_E_BUG, error, m->path, "mp4 writer");
    error = avio_open(&m->format->pb, m->url, AVIO_FLAG_WRITE);
    if (error < 0) return swan_libav_fail(SWAN_E_IO, error, m->path, "opening for writing");
    AVDictionary *options = NULL;
    av_dict_set(&options, "movflags", "+faststart", 0);
    error = avformat_write_header(m->format, &options);
    av_dict_free(&options);
    return error < 0 ? swan_libav_fail(SWAN_E_BUG, error, m->path, "mp4 header") : SWAN_OK;
}

/* How a video is spread over threads. name: of the encoder. Slices inside are not counted: while they work, the chunk's thread
 * sleeps, and more of them than cores cost little (docs/adr/0013-video-chunks.md). */
static void size_chunks(const swan_mp4_config *c, const char *name, swan_chunks_config *out)
{
    int length = swan_encoder_chunk(name, c->fps, c->frames), cores = swan_pool_cores();
    int64_t chunks = length && c->frames > 0 ? (c->frames + length - 1) / length : THREADS_MOST;
    out->length = length;
    out->frames = c->frames;
    out->threads = !length ? 1 : cores < THREADS_MOST ? cores : THREADS_MOST;
    if (out->threads > chunks) out->threads = (int)chunks;
    out->frames_most = length ? out->threads * length : FRAMES_AHEAD;
}

uint64_t swan_mp4_bytes(const swan_mp4_config *c)
{
    const char *name = swan_encoder_likely(c);
    if (!name) return 0;
    swan_chunks_config chunks = {0};
    size_chunks(c, name, &chunks);
    uint64_t frame = (uint64_t)c->width * (uint64_t)c->height * 3 / 2;
    return frame * (uint64_t)chunks.frames_most + (frame * FRAMES_WITHIN + BYTES_WITHIN) * (uint64_t)chunks.threads;
}

/* An encoder like the first one, on a thread of a chunk. */
static swan_status open_another(void *user, AVCodecContext **out)
{
    const swan_mp4 *m = user;
    return swan_encoder_open(m->path, &m->config, out);
}

/* x is taken. */
static swan_status open_chunks(swan_mp4 *m, const swan_mp4_config *c, AVCodecContext *x)
{
    snprintf(m->preset, sizeof m->preset, "%s", c->preset ? c->preset : "");
    m->config = *c;
    m->config.encoder = x->codec->name;
    m->config.preset = *m->preset ? m->preset : NULL;
    m->config.title = m->config.comment_json = NULL;
    swan_chunks_config chunks = {.file = m->path, .open = open_another, .user = m};
    size_chunks(c, x->codec->name, &chunks);
    return swan_chunks_open(&chunks, x, &m->chunks);
}

static swan_status open_all(swan_mp4 *m, const swan_mp4_config *c)
{
    AVCodecContext *x;
    SWAN_TRY(swan_encoder_open(m->path, c, &x));
    swan_status status = swan_file_temp_path(m->path, m->temp, sizeof m->temp);
    m->has_temp = !status;
    snprintf(m->url, sizeof m->url, "file:%s", m->temp); /* or a ':' in a name would mean a protocol */
    if (!status) status = open_container(m, c, x);
    if (!status) return open_chunks(m, c, x);
    avcodec_free_context(&x);
    return status;
}

swan_status swan_mp4_open(const char *path, const swan_mp4_config *c, swan_mp4 **out)
{
    *out = NULL;
    SWAN_TRY(check_path(path));
    SWAN_TRY(check_config(path, c));
    size_t length = strlen(path);
    if (length >= SWAN_PATH_MAX) return SWAN_FAIL(SWAN_E_INVALID, "output path of %zu bytes is too long", length);
    swan_mp4 *m = calloc(1, sizeof *m);
    if (!m) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory for the mp4 writer", path);
    memcpy(m->path, path, length + 1);
    swan_libav_begin();
    swan_status status = open_all(m, c);
    if (status != SWAN_OK) {
        swan_mp4_abort(m);
        return status;
    }
    *out = m;
    return SWAN_OK;
}

swan_status swan_mp4_check(const char *path, const swan_mp4_config *c)
{
    swan_mp4 *m;
    SWAN_TRY(swan_mp4_open(path, c, &m));
    swan_mp4_abort(m);
    return SWAN_OK;
}

/* ---- write, close ------------------------------------------------------------------------------ */

/* Whatever is encoded, to the file; all of it after the end. */
static swan_status write_packets(swan_mp4 *m)
{
    for (;;) {
        AVPacket *packet;
        SWAN_TRY(swan_chunks_packet(m->chunks, &packet));
        if (!packet) return SWAN_OK;
        swan_libav_begin();
        packet->stream_index = m->stream->index;
        if (!packet->duration) packet->duration = 1; /* one frame; some encoders leave it open */
        av_packet_rescale_ts(packet, m->time_base, m->stream->time_base);
        int error = av_interleaved_write_frame(m->format, packet);
        av_packet_free(&packet);
        if (error < 0) return swan_libav_fail(SWAN_E_IO, error, m->path, "writing");
    }
}

/* The planes of the next frame, to be filled. */
static swan_status begin_frame(swan_mp4 *m, swan_yuv420 *planes)
{
    AVFrame *frame;
    m->failed = true; /* until it has worked */
    SWAN_TRY(swan_chunks_frame(m->chunks, &frame));
    for (int p = 0; p < 3; p++) {
        planes->plane[p] = frame->data[p];
        planes->stride[p] = (size_t)frame->linesize[p];
    }
    return SWAN_OK;
}

static swan_status end_frame(swan_mp4 *m)
{
    SWAN_TRY(swan_chunks_push(m->chunks));
    SWAN_TRY(write_packets(m));
    m->frames++;
    m->failed = false;
    return SWAN_OK;
}

swan_status swan_mp4_write(swan_mp4 *m, const uint8_t *rgb)
{
    swan_yuv420 planes;
    SWAN_TRY(begin_frame(m, &planes));
    swan_yuv420_from_rgb(&planes, rgb, m->config.width, m->config.height);
    return end_frame(m);
}

swan_status swan_mp4_write_i420(swan_mp4 *m, const uint8_t *i420)
{
    swan_yuv420 planes;
    SWAN_TRY(begin_frame(m, &planes));
    for (int p = 0; p < 3; p++) {
        size_t width = (size_t)m->config.width >> (p > 0);
        for (int y = 0; y < m->config.height >> (p > 0); y++, i420 += width)
            memcpy(planes.plane[p] + (size_t)y * planes.stride[p], i420, width);
    }
    return end_frame(m);
}

static swan_status finish(swan_mp4 *m, uint64_t *bytes)
{
    if (m->failed) return SWAN_FAIL(SWAN_E_IO, "%s: not written, because a frame before failed", m->path);
    if (!m->frames) return SWAN_FAIL(SWAN_E_INVALID, "%s: not written, because it has no frames", m->path);
    swan_chunks_end(m->chunks);
    SWAN_TRY(write_packets(m));
    int error = av_write_trailer(m->format), closing = avio_closep(&m->format->pb);
    if (error >= 0) error = closing;
    if (error < 0) return swan_libav_fail(SWAN_E_IO, error, m->path, "writing");
    uint64_t size;
    SWAN_TRY(swan_file_size(m->temp, &size));
    m->has_temp = false; /* commit takes care of it in either case */
    SWAN_TRY(swan_file_commit(m->temp, m->path));
    if (bytes) *bytes = size;
    return SWAN_OK;
}

swan_status swan_mp4_close(swan_mp4 *m, uint64_t *bytes)
{
    swan_libav_begin();
    swan_status status = finish(m, bytes);
    swan_mp4_abort(m);
    return status;
}

void swan_mp4_abort(swan_mp4 *m)
{
    if (!m) return;
    swan_chunks_close(m->chunks);
    if (m->format) avio_closep(&m->format->pb);
    avformat_free_context(m->format);
    if (m->has_temp) swan_file_discard(m->temp);
    free(m);
}

/* ---- read -------------------------------------------------------------------------------------- */

swan_status swan_mp4_read_comment(const char *path, char **json)
{
    *json = NULL;
    AVFormatContext *format;
    SWAN_TRY(swan_libav_open_mov(path, &format));
    const AVDictionaryEntry *entry = av_dict_get(format->metadata, "comment", NULL, 0);
    if (entry) *json = strdup(entry->value);
    bool found = entry != NULL;
    avformat_close_input(&format);
    if (!found) return SWAN_FAIL(SWAN_E_NOT_FOUND, "%s: holds no recipe (no comment in its metadata)", path);
    if (!*json) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory for its recipe", path);
    return SWAN_OK;
}
