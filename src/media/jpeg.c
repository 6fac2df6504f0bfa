#include "media/jpeg.h"

#include <stdlib.h>
#include <string.h>

#include <libavcodec/avcodec.h>

#include "media/libav.h"

/* ITU-R BT.601, full range, as JFIF has it; times 2^16, rounded to nearest. */
static void to_ycc(const AVFrame *f, const uint8_t *rgb, int width, int height)
{
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++, rgb += 3) {
            int r = rgb[0], g = rgb[1], b = rgb[2];
            int cb = (-11059 * r - 21709 * g + 32768 * b + (128 << 16) + 32768) >> 16;
            int cr = (32768 * r - 27439 * g - 5329 * b + (128 << 16) + 32768) >> 16;
            f->data[0][y * f->linesize[0] + x] = (uint8_t)((19595 * r + 38470 * g + 7471 * b + 32768) >> 16);
            f->data[1][y * f->linesize[1] + x] = (uint8_t)(cb > 255 ? 255 : cb);
            f->data[2][y * f->linesize[2] + x] = (uint8_t)(cr > 255 ? 255 : cr);
        }
    }
}

/* 1 .. 100 to the codec's quantizer, 31 .. 2. */
static int quantizer(int quality) { return quality >= 100 ? 2 : quality <= 1 ? 31 : 31 - (quality * 29) / 100; }

static swan_status open_codec(AVCodecContext *x, AVFrame *f, int width, int height, int quality)
{
    x->width = f->width = width;
    x->height = f->height = height;
    x->pix_fmt = AV_PIX_FMT_YUVJ444P;
    f->format = AV_PIX_FMT_YUVJ444P;
    x->color_range = f->color_range = AVCOL_RANGE_JPEG;
    x->time_base = (AVRational){1, 1};
    x->thread_count = 1;
    x->flags |= AV_CODEC_FLAG_QSCALE | AV_CODEC_FLAG_BITEXACT; /* no comment with libav's version */
    x->global_quality = f->quality = FF_QP2LAMBDA * quantizer(quality);
    int error = avcodec_open2(x, x->codec, NULL);
    if (error >= 0) error = av_frame_get_buffer(f, 0);
    return error < 0 ? swan_libav_fail(SWAN_E_UNSUPPORTED, error, "JPEG", "opening the encoder") : SWAN_OK;
}

static swan_status encode(AVCodecContext *x, const AVFrame *f, AVPacket *packet, uint8_t **jpeg, size_t *bytes)
{
    int error = avcodec_send_frame(x, f);
    if (error >= 0) error = avcodec_receive_packet(x, packet);
    if (error < 0) return swan_libav_fail(SWAN_E_IO, error, "JPEG", "encoding");
    *jpeg = malloc((size_t)packet->size);
    if (!*jpeg) return SWAN_FAIL(SWAN_E_NOMEM, "JPEG: out of memory");
    memcpy(*jpeg, packet->data, (size_t)packet->size);
    *bytes = (size_t)packet->size;
    return SWAN_OK;
}

swan_status swan_jpeg_encode(const uint8_t *rgb, int width, int height, int quality, uint8_t **jpeg, size_t *bytes)
{
    *jpeg = NULL;
    *bytes = 0;
    if (width < 1 || height < 1 || width > 8192 || height > 8192)
        return SWAN_FAIL(SWAN_E_INVALID, "JPEG of %dx%d: wanted 1 to 8192 pixels each way", width, height);
    swan_libav_begin();
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_MJPEG);
    if (!codec) return SWAN_FAIL(SWAN_E_UNSUPPORTED, "JPEG: this libav has no mjpeg encoder");
    AVCodecContext *x = avcodec_alloc_context3(codec);
    AVFrame *f = av_frame_alloc();
    AVPacket *packet = av_packet_alloc();
    swan_status status = x && f && packet ? open_codec(x, f, width, height, quality) : SWAN_FAIL(SWAN_E_NOMEM, "JPEG: out of memory");
    if (!status) {
        to_ycc(f, rgb, width, height);
        status = encode(x, f, packet, jpeg, bytes);
    }
    av_packet_free(&packet);
    av_frame_free(&f);
    avcodec_free_context(&x);
    return status;
}
