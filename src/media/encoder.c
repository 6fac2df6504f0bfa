#include "media/encoder.h"

#include <stdio.h>
#include <string.h>

#include <libavcodec/avcodec.h>

#include "media/libav.h"
#include "media/thread.h"

enum { DEFAULT_QUALITY = 18, CHUNK_LEAST = 8, CHUNK_MOST = 32 /* frames of "a second" */ };
enum { SLICE_ROWS = 224, SLICES_MOST = 4 };

/* How an encoder is told the quality. */
typedef struct encoder_row {
    const char *name, *quality_option; /* NULL: by bit rate */
    const char *extra, *extra_value;
    const char *preset, *presets; /* the default; all there are; NULL: the encoder knows */
    bool in_chunks;               /* one instance for each chunk, which works on slices of one frame side by side */
} encoder_row;

static const encoder_row encoders[] = {
    /* x264 itself prints to the terminal when it is given another preset. veryfast: a third of medium's time. In chunks, because
     * its own threads work on neighbouring frames and wait for each other (docs/adr/0013-video-chunks.md) */
    {"libx264", "crf", NULL, NULL, "veryfast",
     " ultrafast superfast veryfast faster fast medium slow slower veryslow placebo ", true},
    {"libopenh264", NULL, "allow_skip_frames", "0", NULL, NULL, false},
    {"h264_nvenc", "cq", "rc", "vbr", NULL, NULL, false},
    {"h264_videotoolbox", NULL, NULL, NULL, NULL, NULL, false},
};
enum { ENCODERS = sizeof encoders / sizeof *encoders, OTHER_THREADS = 4 /* the same everywhere: bytes may depend on it */ };

static const encoder_row *find_row(const char *name)
{
    for (int i = 0; i < ENCODERS; i++)
        if (strcmp(encoders[i].name, name) == 0) return &encoders[i];
    return NULL;
}

/* By height alone, because bytes depend on it. A slice knows nothing of the one above, which costs about 1 % of the file each. */
static int slices(int height)
{
    int n = height / SLICE_ROWS;
    return n < 1 ? 1 : n > SLICES_MOST ? SLICES_MOST : n;
}

static int second(int fps) { return fps < CHUNK_LEAST ? CHUNK_LEAST : fps > CHUNK_MOST ? CHUNK_MOST : fps; }

const char *swan_encoder_likely(const swan_mp4_config *c)
{
    if (c->encoder) return c->encoder;
    for (int i = 0; i < ENCODERS; i++)
        if (avcodec_find_encoder_by_name(encoders[i].name)) return encoders[i].name;
    return NULL;
}

int swan_encoder_chunk(const char *name, int fps, int64_t frames)
{
    const encoder_row *row = find_row(name);
    if (!row || !row->in_chunks) return 0;
    int most = second(fps);
    if (frames <= 0) return most;
    int64_t chunks = (frames + most - 1) / most;
    return (int)((frames + chunks - 1) / chunks);
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

static swan_status check_preset(const char *file, const encoder_row *row, const char *preset)
{
    if (!row || !row->presets || !preset) return SWAN_OK;
    char word[32];
    int length = snprintf(word, sizeof word, " %s ", preset);
    if (length > 2 && length < (int)sizeof word && !strchr(preset, ' ') && strstr(row->presets, word)) return SWAN_OK;
    return SWAN_FAIL(SWAN_E_INVALID, "%s: encoder %s has no preset \"%s\"; it has:%s", file, row->name, preset, row->presets);
}

static const char *preset_of(const encoder_row *row, const swan_mp4_config *c) { return c->preset ? c->preset : row ? row->preset : NULL; }

static int quality_of(const swan_mp4_config *c) { return c->quality ? c->quality : DEFAULT_QUALITY; }

/* x264's AVX-512 form of what it calls mbtree reads memory that nobody has written (seen in 164: the same frames give other bytes
 * when the allocator's memory is not fresh). Without it, its forms for SSE4 to AVX2 all give the same bytes. A tenth slower. */
static void leave_out_avx512(AVDictionary **options, const encoder_row *row)
{
#if defined(__x86_64__) && defined(__GNUC__)
    if (row && strcmp(row->name, "libx264") == 0 && __builtin_cpu_supports("avx512f")) av_dict_set(options, "x264-params", "asm=SSE2Fast,AVX2", 0);
#else
    (void)options, (void)row;
#endif
}

static void set_options(AVDictionary **options, const encoder_row *row, const swan_mp4_config *c, int quality)
{
    leave_out_avx512(options, row);
    av_dict_set(options, "profile", "high", 0);
    const char *preset = preset_of(row, c);
    if (preset) av_dict_set(options, "preset", preset, 0);
    if (row && row->quality_option) av_dict_set_int(options, row->quality_option, quality, 0);
    if (row && row->extra) av_dict_set(options, row->extra, row->extra_value, 0);
}

static void set_context(AVCodecContext *x, const encoder_row *row, const swan_mp4_config *c, int quality)
{
    x->width = c->width;
    x->height = c->height;
    x->pix_fmt = AV_PIX_FMT_YUV420P;
    x->time_base = (AVRational){1, c->fps};
    x->framerate = (AVRational){c->fps, 1};
    x->gop_size = 2 * c->fps; /* a player can jump to every other second */
    if (row && row->in_chunks) {
        /* to the first frame of every chunk and to no other: the same number in all chunks, because it shows in the parameter
         * sets. Two places to jump to in a row would have to be numbered differently, which chunks know nothing of */
        x->gop_size = 2 * second(c->fps);
        x->keyint_min = x->gop_size;
    }
    x->color_range = AVCOL_RANGE_MPEG;
    x->colorspace = AVCOL_SPC_BT709;
    x->color_primaries = AVCOL_PRI_BT709;
    x->color_trc = AVCOL_TRC_BT709;
    x->chroma_sample_location = AVCHROMA_LOC_LEFT;
    x->thread_count = OTHER_THREADS;
    if (row && row->in_chunks) {
        x->thread_count = slices(c->height);
        x->thread_type = FF_THREAD_SLICE; /* frames come out as soon as with one thread */
    }
    x->flags |= AV_CODEC_FLAG_GLOBAL_HEADER; /* mp4 keeps the parameter sets outside the frames */
    x->bit_rate = row && row->quality_option ? 0 : bit_rate(c, quality);
}

static swan_status open_one(const char *file, const char *name, const swan_mp4_config *c, AVCodecContext **out)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(name);
    if (!codec) return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: this libav has no encoder %s", file, name);
    if (codec->id != AV_CODEC_ID_H264)
        return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: encoder %s does not make H.264, which Swan's mp4 files hold", file, name);
    const encoder_row *row = find_row(name);
    SWAN_TRY(check_preset(file, row, c->preset));
    AVCodecContext *x = avcodec_alloc_context3(codec);
    if (!x) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory for encoder %s", file, name);
    int quality = quality_of(c);
    set_context(x, row, c, quality);
    AVDictionary *options = NULL;
    set_options(&options, row, c, quality);
    sigset_t before;
    swan_thread_block_signals(&before); /* for the threads that the encoder starts */
    int error = avcodec_open2(x, codec, &options); /* options it does not know are left in the dictionary */
    swan_thread_restore_signals(&before);
    av_dict_free(&options);
    if (error < 0) {
        char doing[128];
        snprintf(doing, sizeof doing, "encoder %s", name);
        avcodec_free_context(&x);
        return swan_libav_fail(SWAN_E_UNSUPPORTED, error, file, doing);
    }
    *out = x;
    return SWAN_OK;
}

swan_status swan_encoder_open(const char *file, const swan_mp4_config *c, AVCodecContext **out)
{
    *out = NULL;
    swan_libav_begin();
    if (c->encoder) return open_one(file, c->encoder, c, out);
    for (int i = 0; i < ENCODERS; i++) {
        if (!avcodec_find_encoder_by_name(encoders[i].name)) continue;
        swan_status status = open_one(file, encoders[i].name, c, out);
        if (status != SWAN_E_UNSUPPORTED && status != SWAN_E_IO) return status; /* IO: a device that is not there */
        swan_libav_begin();
    }
    return SWAN_FAIL(SWAN_E_UNSUPPORTED,
                     "%s: this libav has no H.264 encoder that works here; wanted libx264, libopenh264, h264_nvenc "
                     "or h264_videotoolbox (Debian's and Ubuntu's own libavcodec has libx264)",
                     file);
}

swan_status swan_mp4_choose(const swan_mp4_config *c, swan_mp4_choice *out)
{
    AVCodecContext *x;
    *out = (swan_mp4_choice){.quality = quality_of(c)};
    SWAN_TRY(swan_encoder_open("mp4", c, &x));
    const char *preset = preset_of(find_row(x->codec->name), c);
    snprintf(out->encoder, sizeof out->encoder, "%s", x->codec->name);
    snprintf(out->preset, sizeof out->preset, "%s", preset ? preset : "");
    avcodec_free_context(&x);
    return SWAN_OK;
}
