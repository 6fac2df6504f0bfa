/* Invariants:
 * 1. From open until close or abort, `temp` exists and nothing but libav's file handle writes to it.
 * 2. `path` is touched by swan_file_commit alone, after the trailer and every buffered byte were written without error.
 * 3. Bytes depend on frames and settings only: the thread count is fixed, no date or random id is written. */
#include "media/mp4.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>

#include "base/file.h"
#include "media/libav.h"
#include "media/yuv.h"

#if LIBAVFORMAT_VERSION_MAJOR < 59
typedef AVInputFormat input_format;
#else
typedef const AVInputFormat input_format;
#endif

/* x264's output depends on how many threads it has, so the number is the same everywhere. */
enum { ENCODER_THREADS = 4, DEFAULT_QUALITY = 18 };

/* How an encoder is told the quality. */
typedef struct encoder_row {
    const char *name, *quality_option; /* NULL: by bit rate */
    const char *extra, *extra_value;
    const char *preset, *presets; /* the default; all there are; NULL: the encoder knows */
} encoder_row;

static const encoder_row encoders[] = {
    /* x264 itself prints to the terminal when it is given another preset. veryfast: 2 ms a frame of 832x480, a
     * sixth of medium's time for a seventh more bytes, so that encoding hides behind decoding */
    {"libx264", "crf", NULL, NULL, "veryfast",
     " ultrafast superfast veryfast faster fast medium slow slower veryslow placebo "},
    {"libopenh264", NULL, "allow_skip_frames", "0", NULL, NULL},
    {"h264_nvenc", "cq", "rc", "vbr", NULL, NULL},
    {"h264_videotoolbox", NULL, NULL, NULL, NULL, NULL},
};
enum { ENCODERS = sizeof encoders / sizeof *encoders };

struct swan_mp4 {
    char path[SWAN_PATH_MAX], temp[SWAN_PATH_MAX], url[SWAN_PATH_MAX + 8];
    int width, height;
    bool has_temp, failed;
    int64_t frames;
    AVFormatContext *format;
    AVStream *stream; /* owned by format */
    AVCodecContext *codec;
    AVFrame *frame;
    AVPacket *packet;
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

/* Bits per second that look about as good as x264's CRF q: a tenth of a bit a pixel at 23, doubling every 6 steps
 * down. */
static int64_t bit_rate(const swan_mp4_config *c, int quality)
{
    double rate = 0.1 * c->width * c->height * c->fps;
    for (int q = quality; q < 23; q++) rate *= 1.122462; /* 2^(1/6) */
    for (int q = quality; q > 23; q--) rate /= 1.122462;
    return (int64_t)rate + 1000;
}

static swan_status check_preset(const char *path, const encoder_row *row, const char *preset)
{
    if (!row || !row->presets || !preset) return SWAN_OK;
    char word[32];
    int length = snprintf(word, sizeof word, " %s ", preset);
    if (length > 2 && length < (int)sizeof word && !strchr(preset, ' ') && strstr(row->presets, word)) return SWAN_OK;
    return SWAN_FAIL(SWAN_E_INVALID, "%s: encoder %s has no preset \"%s\"; it has:%s", path, row->name, preset,
                     row->presets);
}

static void set_options(AVDictionary **options, const encoder_row *row, const swan_mp4_config *c, int quality)
{
    av_dict_set(options, "profile", "high", 0);
    const char *preset = c->preset ? c->preset : row ? row->preset : NULL;
    if (preset) av_dict_set(options, "preset", preset, 0);
    if (row && row->quality_option) av_dict_set_int(options, row->quality_option, quality, 0);
    if (row && row->extra) av_dict_set(options, row->extra, row->extra_value, 0);
}

/* Opens one encoder. SWAN_E_UNSUPPORTED when this libav or this machine has it not. */
static swan_status open_encoder(swan_mp4 *m, const char *name, const swan_mp4_config *c)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(name);
    if (!codec) return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: this libav has no encoder %s", m->path, name);
    if (codec->id != AV_CODEC_ID_H264)
        return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: encoder %s does not make H.264, which Swan's mp4 files hold", m->path,
                         name);
    const encoder_row *row = NULL;
    for (int i = 0; i < ENCODERS; i++)
        if (strcmp(encoders[i].name, name) == 0) row = &encoders[i];
    SWAN_TRY(check_preset(m->path, row, c->preset));
    AVCodecContext *x = avcodec_alloc_context3(codec);
    if (!x) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory for encoder %s", m->path, name);
    int quality = c->quality ? c->quality : DEFAULT_QUALITY;
    x->width = c->width;
    x->height = c->height;
    x->pix_fmt = AV_PIX_FMT_YUV420P;
    x->time_base = (AVRational){1, c->fps};
    x->framerate = (AVRational){c->fps, 1};
    x->gop_size = 2 * c->fps; /* a player can jump to every other second */
    x->color_range = AVCOL_RANGE_MPEG;
    x->colorspace = AVCOL_SPC_BT709;
    x->color_primaries = AVCOL_PRI_BT709;
    x->color_trc = AVCOL_TRC_BT709;
    x->chroma_sample_location = AVCHROMA_LOC_LEFT;
    x->thread_count = ENCODER_THREADS;
    x->flags |= AV_CODEC_FLAG_GLOBAL_HEADER; /* mp4 keeps the parameter sets outside the frames */
    x->bit_rate = row && row->quality_option ? 0 : bit_rate(c, quality);
    AVDictionary *options = NULL;
    set_options(&options, row, c, quality);
    int error = avcodec_open2(x, codec, &options); /* options it does not know are left in the dictionary */
    av_dict_free(&options);
    if (error < 0) {
        char doing[128];
        snprintf(doing, sizeof doing, "encoder %s", name);
        avcodec_free_context(&x);
        return swan_libav_fail(SWAN_E_UNSUPPORTED, error, m->path, doing);
    }
    m->codec = x;
    return SWAN_OK;
}

static swan_status choose_encoder(swan_mp4 *m, const swan_mp4_config *c)
{
    if (c->encoder) return open_encoder(m, c->encoder, c);
    for (int i = 0; i < ENCODERS; i++) {
        if (!avcodec_find_encoder_by_name(encoders[i].name)) continue;
        swan_status status = open_encoder(m, encoders[i].name, c);
        if (status != SWAN_E_UNSUPPORTED && status != SWAN_E_IO) return status; /* IO: a device that is not there */
        swan_libav_begin();
    }
    return SWAN_FAIL(SWAN_E_UNSUPPORTED,
                     "%s: this libav has no H.264 encoder that works here; wanted libx264, libopenh264, h264_nvenc "
                     "or h264_videotoolbox (Debian's and Ubuntu's own libavcodec has libx264)",
                     m->path);
}

static swan_status open_frame(swan_mp4 *m)
{
    m->packet = av_packet_alloc();
    m->frame = av_frame_alloc();
    if (!m->packet || !m->frame) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory for a video frame", m->path);
    m->frame->format = m->codec->pix_fmt;
    m->frame->width = m->width;
    m->frame->height = m->height;
    m->frame->color_range = m->codec->color_range;
    m->frame->colorspace = m->codec->colorspace;
    m->frame->color_primaries = m->codec->color_primaries;
    m->frame->color_trc = m->codec->color_trc;
    m->frame->chroma_location = m->codec->chroma_sample_location;
    int error = av_frame_get_buffer(m->frame, 0);
    return error < 0 ? swan_libav_fail(SWAN_E_BUG, error, m->path, "video frame") : SWAN_OK;
}

static swan_status open_container(swan_mp4 *m, const swan_mp4_config *c)
{
    int error = avformat_alloc_output_context2(&m->format, NULL, "mp4", m->url);
    if (error < 0) return swan_libav_fail(SWAN_E_UNSUPPORTED, error, m->path, "mp4 writer");
    m->stream = avformat_new_stream(m->format, NULL);
    if (!m->stream) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory for the mp4 writer", m->path);
    m->stream->time_base = m->codec->time_base;
    m->stream->avg_frame_rate = m->codec->framerate;
    m->format->flags |= AVFMT_FLAG_BITEXACT; /* no tag with libav's version */
    error = avcodec_parameters_from_context(m->stream->codecpar, m->codec);
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

static swan_status open_all(swan_mp4 *m, const swan_mp4_config *c)
{
    SWAN_TRY(choose_encoder(m, c));
    SWAN_TRY(open_frame(m));
    SWAN_TRY(swan_file_temp_path(m->path, m->temp, sizeof m->temp));
    m->has_temp = true;
    snprintf(m->url, sizeof m->url, "file:%s", m->temp); /* or a ':' in a name would mean a protocol */
    return open_container(m, c);
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
    m->width = c->width;
    m->height = c->height;
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

/* Gives a frame (NULL: the end) to the encoder and whatever it has ready to the file. */
static swan_status encode(swan_mp4 *m, const AVFrame *frame)
{
    int error = avcodec_send_frame(m->codec, frame);
    if (error < 0) return swan_libav_fail(SWAN_E_IO, error, m->path, "encoding");
    for (;;) {
        error = avcodec_receive_packet(m->codec, m->packet);
        if (error == AVERROR(EAGAIN) || error == AVERROR_EOF) return SWAN_OK;
        if (error < 0) return swan_libav_fail(SWAN_E_IO, error, m->path, "encoding");
        m->packet->stream_index = m->stream->index;
        if (!m->packet->duration) m->packet->duration = 1; /* one frame; some encoders leave it open */
        av_packet_rescale_ts(m->packet, m->codec->time_base, m->stream->time_base);
        error = av_interleaved_write_frame(m->format, m->packet);
        if (error < 0) return swan_libav_fail(SWAN_E_IO, error, m->path, "writing");
    }
}

/* The planes of the next frame, to be filled. */
static swan_status begin_frame(swan_mp4 *m, swan_yuv420 *planes)
{
    swan_libav_begin();
    m->failed = true; /* until it has worked */
    int error = av_frame_make_writable(m->frame);
    if (error < 0) return swan_libav_fail(SWAN_E_BUG, error, m->path, "video frame");
    for (int p = 0; p < 3; p++) {
        planes->plane[p] = m->frame->data[p];
        planes->stride[p] = (size_t)m->frame->linesize[p];
    }
    return SWAN_OK;
}

static swan_status end_frame(swan_mp4 *m)
{
    m->frame->pts = m->frames;
    SWAN_TRY(encode(m, m->frame));
    m->frames++;
    m->failed = false;
    return SWAN_OK;
}

swan_status swan_mp4_write(swan_mp4 *m, const uint8_t *rgb)
{
    swan_yuv420 planes;
    SWAN_TRY(begin_frame(m, &planes));
    swan_yuv420_from_rgb(&planes, rgb, m->width, m->height);
    return end_frame(m);
}

swan_status swan_mp4_write_i420(swan_mp4 *m, const uint8_t *i420)
{
    swan_yuv420 planes;
    SWAN_TRY(begin_frame(m, &planes));
    for (int p = 0; p < 3; p++) {
        size_t width = (size_t)m->width >> (p > 0);
        for (int y = 0; y < m->height >> (p > 0); y++, i420 += width) memcpy(planes.plane[p] + (size_t)y * planes.stride[p], i420, width);
    }
    return end_frame(m);
}

static swan_status finish(swan_mp4 *m, uint64_t *bytes)
{
    if (m->failed) return SWAN_FAIL(SWAN_E_IO, "%s: not written, because a frame before failed", m->path);
    if (!m->frames) return SWAN_FAIL(SWAN_E_INVALID, "%s: not written, because it has no frames", m->path);
    SWAN_TRY(encode(m, NULL));
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
    avcodec_free_context(&m->codec);
    if (m->format) avio_closep(&m->format->pb);
    avformat_free_context(m->format);
    av_frame_free(&m->frame);
    av_packet_free(&m->packet);
    if (m->has_temp) swan_file_discard(m->temp);
    free(m);
}

/* ---- read -------------------------------------------------------------------------------------- */

swan_status swan_mp4_read_comment(const char *path, char **json)
{
    *json = NULL;
    uint64_t bytes;
    SWAN_TRY(swan_file_size(path, &bytes));
    char url[SWAN_PATH_MAX + 8];
    if (snprintf(url, sizeof url, "file:%s", path) >= (int)sizeof url)
        return SWAN_FAIL(SWAN_E_INVALID, "path of %zu bytes is too long", strlen(path));
    swan_libav_begin();
    /* Only this reader and only this file: a foreign file must not be able to name others. */
    input_format *mov = av_find_input_format("mov");
    AVDictionary *options = NULL;
    av_dict_set(&options, "protocol_whitelist", "file", 0);
    AVFormatContext *format = NULL;
    int error = avformat_open_input(&format, url, mov, &options);
    av_dict_free(&options);
    if (error < 0) return swan_libav_fail(SWAN_E_FORMAT, error, path, "not a readable mp4");
    const AVDictionaryEntry *entry = av_dict_get(format->metadata, "comment", NULL, 0);
    if (entry) *json = strdup(entry->value);
    bool found = entry != NULL;
    avformat_close_input(&format);
    if (!found) return SWAN_FAIL(SWAN_E_NOT_FOUND, "%s: holds no recipe (no comment in its metadata)", path);
    if (!*json) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory for its recipe", path);
    return SWAN_OK;
}
