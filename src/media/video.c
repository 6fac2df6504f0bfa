#include "media/video.h"

#include <stdio.h>
#include <stdlib.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

#include "base/file.h"
#include "media/libav.h"

struct swan_video {
    char path[SWAN_PATH_MAX];
    AVFormatContext *format;
    AVCodecContext *decoder;
    AVPacket *packet;
    AVFrame *frame;
    int stream;
    bool drained; /* the decoder knows that there is no more */
    swan_yuv420 planes;
};

static swan_status open_decoder(swan_video *v)
{
    int error = avformat_find_stream_info(v->format, NULL);
    if (error < 0) return swan_libav_fail(SWAN_E_FORMAT, error, v->path, "not a readable video");
    v->stream = av_find_best_stream(v->format, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    if (v->stream < 0) return SWAN_FAIL(SWAN_E_FORMAT, "%s: holds no video", v->path);
    const AVCodecParameters *parameters = v->format->streams[v->stream]->codecpar;
    if (parameters->codec_id != AV_CODEC_ID_H264)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: a video in %s; wanted H.264", v->path, avcodec_get_name(parameters->codec_id));
    const AVCodec *codec = avcodec_find_decoder(AV_CODEC_ID_H264);
    if (!codec) return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: this libav has no decoder for H.264", v->path);
    v->decoder = avcodec_alloc_context3(codec);
    v->packet = av_packet_alloc();
    v->frame = av_frame_alloc();
    if (!v->decoder || !v->packet || !v->frame) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory for the decoder", v->path);
    error = avcodec_parameters_to_context(v->decoder, parameters);
    v->decoder->thread_count = 1;
    if (error >= 0) error = avcodec_open2(v->decoder, codec, NULL);
    return error < 0 ? swan_libav_fail(SWAN_E_UNSUPPORTED, error, v->path, "opening the decoder") : SWAN_OK;
}

swan_status swan_video_open(const char *path, swan_video **out)
{
    *out = NULL;
    swan_video *v = calloc(1, sizeof *v);
    if (!v) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory for the reader", path);
    swan_status status = swan_libav_open_mov(path, &v->format);
    if (!status) {
        snprintf(v->path, sizeof v->path, "%s", path);
        status = open_decoder(v);
    }
    if (status) {
        swan_video_close(v);
        return status;
    }
    *out = v;
    return SWAN_OK;
}

void swan_video_size(const swan_video *v, int *width, int *height)
{
    *width = v->decoder->width;
    *height = v->decoder->height;
}

/* A packet, or the news that there are no more, to the decoder. */
static int feed(swan_video *v)
{
    int error;
    while ((error = av_read_frame(v->format, v->packet)) >= 0 && v->packet->stream_index != v->stream) av_packet_unref(v->packet);
    if (error < 0 && error != AVERROR_EOF) return error;
    v->drained = error == AVERROR_EOF;
    error = avcodec_send_packet(v->decoder, v->drained ? NULL : v->packet);
    av_packet_unref(v->packet);
    return error;
}

swan_status swan_video_next(swan_video *v, const swan_yuv420 **frame)
{
    *frame = NULL;
    swan_libav_begin();
    int error;
    while ((error = avcodec_receive_frame(v->decoder, v->frame)) == AVERROR(EAGAIN) && !v->drained) {
        error = feed(v);
        if (error < 0) break;
    }
    if (error == AVERROR_EOF) return SWAN_OK;
    if (error < 0) return swan_libav_fail(SWAN_E_FORMAT, error, v->path, "decoding");
    if (v->frame->format != AV_PIX_FMT_YUV420P || v->frame->width != v->decoder->width || v->frame->height != v->decoder->height)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: frames that are not all yuv420p of one size", v->path);
    for (int p = 0; p < 3; p++) {
        v->planes.plane[p] = v->frame->data[p];
        v->planes.stride[p] = (size_t)v->frame->linesize[p];
    }
    *frame = &v->planes;
    return SWAN_OK;
}

void swan_video_close(swan_video *v)
{
    if (!v) return;
    av_frame_free(&v->frame);
    av_packet_free(&v->packet);
    avcodec_free_context(&v->decoder);
    avformat_close_input(&v->format);
    free(v);
}
