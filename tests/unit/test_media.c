/* mp4 output, read back with libav's own reader and decoder. */
#define _GNU_SOURCE /* sched_setaffinity */
#include <malloc.h>
#include <math.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

#include "base/file.h"
#include "base/yuv.h"
#include "media/mp4.h"
#include "media/video.h"
#include "media/yuv.h"
#include "scratch.h"

enum { WIDTH = 224, HEIGHT = 160, TALL = 448, FRAMES = 33, FPS = 16 };

static const swan_mp4_config plain = {.width = WIDTH, .height = HEIGHT, .fps = FPS};
static const swan_mp4_config tall = {.width = WIDTH, .height = TALL, .fps = FPS}; /* x264 cuts its frames into two slices */

/* A colour gradient that moves with t. */
static void paint(uint8_t *rgb, int height, int t)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < WIDTH; x++) {
            uint8_t *p = rgb + 3 * (y * WIDTH + x);
            p[0] = (uint8_t)(127.5 + 127 * sin((x + 3 * t) / 40.0));
            p[1] = (uint8_t)(127.5 + 127 * sin((y - 2 * t) / 35.0));
            p[2] = (uint8_t)(127.5 + 127 * cos((x + y + t) / 60.0));
        }
}

/* Nothing that compresses: fills files fast. */
static void paint_noise(uint8_t *rgb, unsigned seed)
{
    for (int i = 0; i < WIDTH * HEIGHT * 3; i++) {
        seed = seed * 1664525u + 1013904223u;
        rgb[i] = (uint8_t)(seed >> 24);
    }
}

static swan_status write_video(const char *path, const swan_mp4_config *c, int frames, uint64_t *bytes)
{
    static uint8_t rgb[WIDTH * TALL * 3];
    swan_mp4 *m;
    swan_status status = swan_mp4_open(path, c, &m);
    if (status != SWAN_OK) return status;
    for (int t = 0; t < frames; t++) {
        paint(rgb, c->height, t);
        status = swan_mp4_write(m, rgb);
        if (status != SWAN_OK) {
            swan_mp4_abort(m);
            return status;
        }
    }
    return swan_mp4_close(m, bytes);
}

static void expect(swan_status got, swan_status want, const char *says)
{
    if (got != want || (want != SWAN_OK && !strstr(swan_last_error(), says)))
        fail_msg("%s (\"%s\"), wanted %s saying \"%s\"", swan_status_name(got), swan_last_error(),
                 swan_status_name(want), says);
}

/* ---- colours ----------------------------------------------------------------------------------- */

static void to_yuv_reference(const uint8_t *p, double yuv[3])
{
    double r = p[0] / 255.0, g = p[1] / 255.0, b = p[2] / 255.0, y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    yuv[0] = 16 + 219 * y;
    yuv[1] = 128 + 224 * (b - y) / 1.8556;
    yuv[2] = 128 + 224 * (r - y) / 1.5748;
}

static void test_yuv_matches_bt709(void **state)
{
    (void)state;
    enum { W = 1046, H = 12 }; /* more than the block that is worked on at a time, twice, and a rest */
    static uint8_t rgb[H][W][3], planes[3][H * W];
    unsigned seed = 1;
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            for (int c = 0; c < 3; c++) {
                seed = seed * 1664525u + 1013904223u;
                /* first rows: corners of the colour cube in 2x2 blocks; then noise */
                rgb[y][x][c] = y < 4 ? (uint8_t)((x / 2 + y / 2) >> c & 1 ? 255 : 0) : (uint8_t)(seed >> 24);
            }
    swan_yuv420 dst = {{planes[0], planes[1], planes[2]}, {W, W, W}};
    swan_yuv420_from_rgb(&dst, &rgb[0][0][0], W, H);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            double want[3];
            to_yuv_reference(rgb[y][x], want);
            assert_true(fabs(planes[0][y * W + x] - want[0]) <= 0.51);
            assert_int_equal(planes[0][y * W + x], swan_yuv_luma(rgb[y][x][0], rgb[y][x][1], rgb[y][x][2])); /* as a GPU does */
        }
    for (int y = 0; y < H; y += 2)
        for (int x = 0; x < W; x += 2) {
            double sum[3] = {0};
            for (int dy = 0; dy < 2; dy++)
                for (int dx = -1; dx <= 1; dx++) {
                    double one[3];
                    to_yuv_reference(rgb[y + dy][x + dx < 0 ? 0 : x + dx], one);
                    for (int c = 0; c < 3; c++) sum[c] += one[c] * (dx ? 1 : 2) / 8;
                }
            for (int c = 1; c < 3; c++) assert_true(fabs(planes[c][y / 2 * W + x / 2] - sum[c]) <= 0.51);
            int site[3];
            for (int c = 0; c < 3; c++) {
                int column[3] = {0};
                for (int dx = -1; dx <= 1; dx++) column[dx + 1] = rgb[y][x + dx < 0 ? 0 : x + dx][c] + rgb[y + 1][x + dx < 0 ? 0 : x + dx][c];
                site[c] = swan_yuv_site(column[0], column[1], column[2]);
            }
            assert_int_equal(planes[1][y / 2 * W + x / 2], swan_yuv_cb(site[0], site[1], site[2]));
            assert_int_equal(planes[2][y / 2 * W + x / 2], swan_yuv_cr(site[0], site[1], site[2]));
        }
}

static void test_yuv_greys(void **state)
{
    (void)state;
    for (int grey = 0; grey < 256; grey++) {
        uint8_t rgb[12], y[4], u, v;
        memset(rgb, grey, sizeof rgb);
        swan_yuv420 dst = {{y, &u, &v}, {2, 1, 1}};
        swan_yuv420_from_rgb(&dst, rgb, 2, 2);
        assert_int_equal(y[3], lround(16 + 219 * grey / 255.0));
        assert_int_equal(u, 128);
        assert_int_equal(v, 128);
    }
}

/* ---- reading back ------------------------------------------------------------------------------ */

typedef struct seen {
    int frames, width, height, format, profile, range, space;
    AVRational rate;
    int64_t duration_us;
    double psnr[3], rgb_psnr; /* lowest over the frames */
    char title[256], encoder[64];
} seen;

static double psnr(double squares, int n) { return squares ? 10 * log10(255.0 * 255 * n / squares) : 99; }

static void compare_planes(seen *s, const AVFrame *f, const uint8_t *rgb)
{
    static uint8_t plane[3][WIDTH * HEIGHT];
    swan_yuv420 want = {{plane[0], plane[1], plane[2]}, {WIDTH, WIDTH, WIDTH}};
    swan_yuv420_from_rgb(&want, rgb, WIDTH, HEIGHT);
    for (int p = 0; p < 3; p++) {
        int w = p ? WIDTH / 2 : WIDTH, h = p ? HEIGHT / 2 : HEIGHT;
        double squares = 0;
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                double d = f->data[p][y * f->linesize[p] + x] - plane[p][y * WIDTH + x];
                squares += d * d;
            }
        s->psnr[p] = fmin(s->psnr[p], psnr(squares, w * h));
    }
}

/* As a simple player does: BT.709, each chroma value used for its four pixels. */
static void compare_rgb(seen *s, const AVFrame *f, const uint8_t *rgb)
{
    double squares = 0;
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            double luma = (f->data[0][y * f->linesize[0] + x] - 16) / 219.0;
            double cb = (f->data[1][y / 2 * f->linesize[1] + x / 2] - 128) / 224.0;
            double cr = (f->data[2][y / 2 * f->linesize[2] + x / 2] - 128) / 224.0;
            double r = luma + 1.5748 * cr, b = luma + 1.8556 * cb, g = (luma - 0.2126 * r - 0.0722 * b) / 0.7152;
            const double got[3] = {r, g, b};
            for (int c = 0; c < 3; c++) {
                double d = 255 * got[c] - rgb[3 * (y * WIDTH + x) + c];
                squares += d * d;
            }
        }
    s->rgb_psnr = fmin(s->rgb_psnr, psnr(squares, WIDTH * HEIGHT * 3));
}

static void take_frames(seen *s, AVCodecContext *decoder, AVFrame *frame, AVRational time_base)
{
    static uint8_t rgb[WIDTH * HEIGHT * 3];
    while (avcodec_receive_frame(decoder, frame) == 0) {
        /* constant frame rate from 0 on */
        assert_int_equal(av_rescale_q(frame->best_effort_timestamp, time_base, (AVRational){1, FPS}), s->frames);
        paint(rgb, HEIGHT, s->frames);
        compare_planes(s, frame, rgb);
        compare_rgb(s, frame, rgb);
        s->format = frame->format;
        s->range = frame->color_range;
        s->space = frame->colorspace;
        s->frames++;
        av_frame_unref(frame);
    }
}

static seen read_video(const char *path)
{
    seen s = {.psnr = {99, 99, 99}, .rgb_psnr = 99};
    AVFormatContext *format = NULL;
    assert_int_equal(avformat_open_input(&format, path, NULL, NULL), 0);
    assert_true(avformat_find_stream_info(format, NULL) >= 0);
    assert_int_equal(format->nb_streams, 1);
    AVStream *stream = format->streams[0];
    const AVCodec *codec = avcodec_find_decoder(AV_CODEC_ID_H264);
    assert_int_equal(stream->codecpar->codec_id, AV_CODEC_ID_H264);
    AVCodecContext *decoder = avcodec_alloc_context3(codec);
    avcodec_parameters_to_context(decoder, stream->codecpar);
    assert_int_equal(avcodec_open2(decoder, codec, NULL), 0);
    AVFrame *frame = av_frame_alloc();
    AVPacket *packet = av_packet_alloc();
    while (av_read_frame(format, packet) == 0) {
        assert_int_equal(avcodec_send_packet(decoder, packet), 0);
        take_frames(&s, decoder, frame, stream->time_base);
        av_packet_unref(packet);
    }
    avcodec_send_packet(decoder, NULL);
    take_frames(&s, decoder, frame, stream->time_base);
    s.width = stream->codecpar->width;
    s.height = stream->codecpar->height;
    s.profile = stream->codecpar->profile;
    s.rate = stream->avg_frame_rate;
    s.duration_us = format->duration;
    AVDictionaryEntry *title = av_dict_get(format->metadata, "title", NULL, 0);
    AVDictionaryEntry *encoder = av_dict_get(stream->metadata, "encoder", NULL, 0);
    assert_null(av_dict_get(format->metadata, "encoder", NULL, 0)); /* libav's name and version */
    if (title) snprintf(s.title, sizeof s.title, "%s", title->value);
    if (encoder) snprintf(s.encoder, sizeof s.encoder, "%s", encoder->value);
    av_packet_free(&packet);
    av_frame_free(&frame);
    avcodec_free_context(&decoder);
    avformat_close_input(&format);
    return s;
}

/* Offset of a top-level box; -1: not there. */
static int64_t box_at(const char *data, size_t bytes, const char *type)
{
    for (size_t at = 0; at + 8 <= bytes;) {
        const unsigned char *p = (const unsigned char *)data + at;
        size_t size = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (memcmp(p + 4, type, 4) == 0) return (int64_t)at;
        if (size < 8) break;
        at += size;
    }
    return -1;
}

static void test_video_reads_back(void **state)
{
    const char *path = scratch_path(*state, "clip.mp4");
    uint64_t bytes;
    expect(write_video(path, &plain, FRAMES, &bytes), SWAN_OK, "");
    assert_int_equal(scratch_count(*state), 1);
    seen s = read_video(path);
    assert_int_equal(s.frames, FRAMES);
    assert_int_equal(s.width, WIDTH);
    assert_int_equal(s.height, HEIGHT);
    assert_int_equal(s.format, AV_PIX_FMT_YUV420P);
    assert_int_equal(s.profile, 100); /* High: what every browser plays */
    assert_int_equal(s.range, AVCOL_RANGE_MPEG);
    assert_int_equal(s.space, AVCOL_SPC_BT709);
    assert_int_equal(s.rate.num, FPS * s.rate.den);
    assert_true(fabs((double)s.duration_us - 1e6 * FRAMES / FPS) < 2000);
    for (int p = 0; p < 3; p++) assert_true(s.psnr[p] >= 35);
    assert_true(s.rgb_psnr >= 35);

    char *data;
    size_t size;
    expect(swan_file_read(path, 1 << 24, &data, &size), SWAN_OK, "");
    assert_int_equal(size, bytes);
    int64_t moov = box_at(data, size, "moov"), mdat = box_at(data, size, "mdat");
    assert_true(moov > 0 && mdat > moov);
    free(data);
}

/* Wherever the chunks are cut: every frame, evenly spaced (read_video looks), and as long as it should be. */
static void test_any_length(void **state)
{
    static const int counts[] = {1, 2, 3, 16, 17, 18, 33, 34, 50};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (int known = 0; known < 3; known++) {
            swan_mp4_config c = plain;
            c.frames = known == 2 ? 40 : known * counts[i]; /* not, rightly and wrongly */
            const char *path = scratch_path(*state, "clip.mp4");
            expect(write_video(path, &c, counts[i], NULL), SWAN_OK, "");
            seen s = read_video(path);
            assert_int_equal(s.frames, counts[i]);
            assert_int_equal(s.rate.num, FPS * s.rate.den);
            assert_true(fabs((double)s.duration_us - 1e6 * counts[i] / FPS) < 2000);
            assert_true(s.psnr[0] >= 35);
        }
}

static void check_own_reader(const char *path, const swan_mp4_config *c)
{
    static uint8_t rgb[WIDTH * TALL * 3], luma[WIDTH * TALL], cb[WIDTH * TALL / 4], cr[WIDTH * TALL / 4];
    expect(write_video(path, c, FRAMES, NULL), SWAN_OK, "");
    swan_video *v;
    expect(swan_video_open(path, &v), SWAN_OK, "");
    int width, height, frames = 0;
    swan_video_size(v, &width, &height);
    assert_int_equal(width, WIDTH);
    assert_int_equal(height, c->height);
    for (const swan_yuv420 *shown;; frames++) {
        expect(swan_video_next(v, &shown), SWAN_OK, "");
        if (!shown) break;
        double squares = 0;
        paint(rgb, height, frames);
        swan_yuv420 want = {{luma, cb, cr}, {WIDTH, WIDTH / 2, WIDTH / 2}};
        swan_yuv420_from_rgb(&want, rgb, WIDTH, height);
        for (int y = 0; y < height; y++)
            for (int x = 0; x < WIDTH; x++) {
                double d = shown->plane[0][(size_t)y * shown->stride[0] + (size_t)x] - luma[y * WIDTH + x];
                squares += d * d;
            }
        assert_true(psnr(squares, WIDTH * height) > 44); /* a neighbouring frame: 30 at most */
    }
    assert_int_equal(frames, FRAMES);
    const swan_yuv420 *none;
    expect(swan_video_next(v, &none), SWAN_OK, ""); /* and stays at its end */
    assert_null(none);
    swan_video_close(v);
}

/* The reader of src/media gives the same frames. */
static void test_own_reader(void **state)
{
    check_own_reader(scratch_path(*state, "clip.mp4"), &plain);
    check_own_reader(scratch_path(*state, "clip.mp4"), &tall);
    swan_video *v;
    swan_video_close(NULL);
    expect(swan_video_open(scratch_path(*state, "none.mp4"), &v), SWAN_E_NOT_FOUND, "none.mp4");
    assert_null(v);
    expect(swan_video_open(scratch_write(*state, "text.mp4", "ffconcat version 1.0\nfile /etc/hosts\n", 37), &v), SWAN_E_FORMAT, "text.mp4");
}

static void test_names_settings_and_one_frame(void **state)
{
    char before[SWAN_PATH_MAX], *json;
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(*state), 0);
    assert_int_equal(mkdir("a:b", 0777), 0); /* not a protocol */
    const char *path = "a:b/c.MP4";          /* nor does the case of the ending matter */
    swan_mp4_config c = plain;
    c.comment_json = "{}";
    expect(write_video(path, &c, 1, NULL), SWAN_OK, "");
    expect(swan_mp4_read_comment(path, &json), SWAN_OK, "");
    assert_string_equal(json, "{}");
    free(json);
    assert_int_equal(read_video("file:a:b/c.MP4").frames, 1);
    c.preset = "ultrafast";
    c.quality = 40;
    uint64_t coarse, fine;
    expect(write_video(path, &c, 9, &coarse), SWAN_OK, ""); /* replaces the file */
    c.quality = 10;
    expect(write_video(path, &c, 9, &fine), SWAN_OK, "");
    assert_true(fine > coarse);
    assert_int_equal(scratch_count("a:b"), 1);
    assert_int_equal(chdir(before), 0);
}

static void test_metadata(void **state)
{
    const char *path = scratch_path(*state, "clip.mp4");
    static char recipe[20000];
    strcpy(recipe, "{\"prompt\": \"a \\\"fox\\\" \xc3\xa9\xe7\x8b\x90 \xf0\x9f\xa6\x8a\", \"pad\": \"");
    size_t used = strlen(recipe);
    memset(recipe + used, 'x', sizeof recipe - used - 3);
    strcpy(recipe + sizeof recipe - 3, "\"}");
    swan_mp4_config c = plain;
    c.title = "a \"fox\" \xe7\x8b\x90";
    c.comment_json = recipe;
    expect(write_video(path, &c, 3, NULL), SWAN_OK, "");
    char *json;
    expect(swan_mp4_read_comment(path, &json), SWAN_OK, "");
    assert_string_equal(json, recipe);
    free(json);
    seen s = read_video(path);
    assert_string_equal(s.title, c.title);
    assert_string_equal(s.encoder, "Swan " SWAN_VERSION);

    expect(write_video(path, &plain, 3, NULL), SWAN_OK, "");
    expect(swan_mp4_read_comment(path, &json), SWAN_E_NOT_FOUND, "no recipe");
    assert_null(json);
    s = read_video(path);
    assert_string_equal(s.title, "");
    assert_string_equal(s.encoder, "Swan " SWAN_VERSION);
}

/* Planes that come ready-made give the file that rgb gives. */
static void test_planes_or_rgb(void **state)
{
    static uint8_t rgb[WIDTH * HEIGHT * 3], i420[WIDTH * HEIGHT * 3 / 2];
    char *data[2];
    size_t size[2];
    swan_yuv420 planes = {{i420, i420 + WIDTH * HEIGHT, i420 + WIDTH * HEIGHT * 5 / 4}, {WIDTH, WIDTH / 2, WIDTH / 2}};
    for (int k = 0; k < 2; k++) {
        const char *path = scratch_path(*state, k ? "i420.mp4" : "rgb.mp4");
        swan_mp4 *m;
        expect(swan_mp4_open(path, &plain, &m), SWAN_OK, "");
        for (int t = 0; t < FRAMES; t++) {
            paint(rgb, HEIGHT, t);
            swan_yuv420_from_rgb(&planes, rgb, WIDTH, HEIGHT);
            expect(k ? swan_mp4_write_i420(m, i420) : swan_mp4_write(m, rgb), SWAN_OK, "");
        }
        expect(swan_mp4_close(m, NULL), SWAN_OK, "");
        expect(swan_file_read(path, 1 << 24, &data[k], &size[k]), SWAN_OK, "");
    }
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(data[0], data[1], size[0]);
    free(data[0]);
    free(data[1]);
}

static void check_same_bytes(void **state, const swan_mp4_config *c)
{
    char *data[2];
    size_t size[2];
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    for (int run = 0; run < 2; run++) {
        const char *path = scratch_path(*state, run ? "b.mp4" : "a.mp4");
        if (run == 1) { /* on one processor: the encoder must not look; nor at memory that nobody has written */
            mallopt(M_PERTURB, 85);
            CPU_ZERO(&one);
            for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
                if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
            assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
            sleep(1); /* another second of the clock: dates would differ */
        }
        expect(write_video(path, c, FRAMES, NULL), SWAN_OK, "");
        expect(swan_file_read(path, 1 << 24, &data[run], &size[run]), SWAN_OK, "");
    }
    mallopt(M_PERTURB, 0);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(data[0], data[1], size[0]);
    free(data[0]);
    free(data[1]);
}

static void test_same_bytes(void **state)
{
    check_same_bytes(state, &plain);
    check_same_bytes(state, &tall);
}

/* ---- failures ---------------------------------------------------------------------------------- */

static void test_abort_leaves_nothing(void **state)
{
    static uint8_t rgb[WIDTH * HEIGHT * 3];
    swan_mp4 *m;
    expect(swan_mp4_check(scratch_path(*state, "clip.mp4"), &plain), SWAN_OK, "");
    assert_int_equal(scratch_count(*state), 0);
    for (int frames = 0; frames <= 60; frames += 30) {
        expect(swan_mp4_open(scratch_path(*state, "clip.mp4"), &plain, &m), SWAN_OK, "");
        assert_int_equal(scratch_count(*state), 1); /* the temporary */
        for (int t = 0; t < frames; t++) expect(swan_mp4_write(m, rgb), SWAN_OK, "");
        swan_mp4_abort(m);
        assert_int_equal(scratch_count(*state), 0);
    }
    swan_mp4_abort(NULL);
    expect(swan_mp4_open(scratch_path(*state, "clip.mp4"), &plain, &m), SWAN_OK, "");
    expect(swan_mp4_close(m, NULL), SWAN_E_INVALID, "no frames");
    assert_int_equal(scratch_count(*state), 0);
}

/* In a child whose files may have `limit` bytes: 0 when the video fails as it should. */
static int child_with_limit(const char *path, rlim_t limit)
{
    static uint8_t rgb[WIDTH * HEIGHT * 3];
    struct rlimit r = {limit, limit};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &r) != 0) return 2;
    swan_mp4 *m;
    swan_status status = swan_mp4_open(path, &plain, &m);
    if (status != SWAN_OK) return status == SWAN_E_IO && strstr(swan_last_error(), path) ? 0 : 3;
    for (int t = 0; t < 40 && status == SWAN_OK; t++) {
        paint_noise(rgb, (unsigned)t);
        status = swan_mp4_write(m, rgb);
    }
    if (status != SWAN_OK) { /* its message first, then what close says */
        if (!strstr(swan_last_error(), "File too large") || !strstr(swan_last_error(), path)) return 4;
        return swan_mp4_close(m, NULL) == SWAN_E_IO ? 0 : 5;
    }
    status = swan_mp4_close(m, NULL);
    if (status == SWAN_OK) return 6;
    bool said = strstr(swan_last_error(), "File too large") && strstr(swan_last_error(), path);
    return status == SWAN_E_IO && said ? 0 : 7;
}

static int run_child(const char *path, rlim_t limit)
{
    pid_t child = fork();
    if (child == 0) _exit(child_with_limit(path, limit));
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    return WIFEXITED(how) ? WEXITSTATUS(how) : 99;
}

static void test_disk_full(void **state)
{
    const char *path = scratch_write(*state, "clip.mp4", "precious", 8);
    assert_int_equal(run_child(path, RLIM_INFINITY), 6); /* goes well, and says how large it gets */
    uint64_t whole;
    expect(swan_file_size(path, &whole), SWAN_OK, "");
    assert_true(whole > 500000);
    path = scratch_write(*state, "clip.mp4", "precious", 8);
    /* at once; on the way; in the last frames; in the index; when the index is moved to the front */
    const rlim_t limits[] = {10, 200000, whole - 60000, whole - 1500, whole - 10};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        int got = run_child(path, limits[i]);
        if (got != 0) fail_msg("limit %lu of %lu: child says %d", (unsigned long)limits[i], (unsigned long)whole, got);
        assert_int_equal(scratch_count(*state), 1);
        char *data;
        size_t size;
        expect(swan_file_read(path, 100, &data, &size), SWAN_OK, "");
        assert_string_equal(data, "precious"); /* what was there stays */
        free(data);
    }
}

static void test_refusals(void **state)
{
    static const struct {
        const char *name;
        swan_mp4_config c;
        swan_status status;
        const char *says;
    } rows[] = {
        {"clip.webm", {WIDTH, HEIGHT, FPS, .quality = 0}, SWAN_E_INVALID, "supported: .mp4"},
        {"clip", {WIDTH, HEIGHT, FPS, .quality = 0}, SWAN_E_INVALID, "supported: .mp4"},
        {"clip.mp4.gif", {WIDTH, HEIGHT, FPS, .quality = 0}, SWAN_E_INVALID, "supported: .mp4"},
        {".mp4", {WIDTH, HEIGHT, FPS, .quality = 0}, SWAN_E_INVALID, "supported: .mp4"},
        {"c.mp4", {WIDTH + 1, HEIGHT, FPS, .quality = 0}, SWAN_E_INVALID, "225x160"},
        {"c.mp4", {WIDTH, 0, FPS, .quality = 0}, SWAN_E_INVALID, "224x0"},
        {"c.mp4", {10000, HEIGHT, FPS, .quality = 0}, SWAN_E_INVALID, "10000x160"},
        {"c.mp4", {WIDTH, HEIGHT, 0, .quality = 0}, SWAN_E_INVALID, "0 frames per second"},
        {"c.mp4", {WIDTH, HEIGHT, FPS, .quality = 52}, SWAN_E_INVALID, "quality 52"},
        {"c.mp4", {WIDTH, HEIGHT, FPS, .encoder = "h266_swan"}, SWAN_E_UNSUPPORTED, "no encoder h266_swan"},
        {"c.mp4", {WIDTH, HEIGHT, FPS, .encoder = "mpeg4"}, SWAN_E_UNSUPPORTED, "does not make H.264"},
        {"c.mp4", {WIDTH, HEIGHT, FPS, .encoder = "libx264", .preset = "warp"}, SWAN_E_INVALID, "no preset \"warp\""},
        {"none/c.mp4", {WIDTH, HEIGHT, FPS, .quality = 0}, SWAN_E_NOT_FOUND, "none/c.mp4"},
        {"file/c.mp4", {WIDTH, HEIGHT, FPS, .quality = 0}, SWAN_E_NOT_FOUND, "file/c.mp4"},
        {"folder.mp4", {WIDTH, HEIGHT, FPS, .quality = 0}, SWAN_E_INVALID, "folder.mp4"},
    };
    scratch_write(*state, "file", "x", 1);
    assert_int_equal(mkdir(scratch_path(*state, "folder.mp4"), 0777), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        swan_mp4 *m = (swan_mp4 *)1;
        expect(swan_mp4_open(scratch_path(*state, rows[i].name), &rows[i].c, &m), rows[i].status, rows[i].says);
        assert_null(m);
        expect(swan_mp4_check(scratch_path(*state, rows[i].name), &rows[i].c), rows[i].status, rows[i].says);
        assert_int_equal(scratch_count(*state), 2);
    }
    swan_mp4 *m;
    expect(swan_mp4_open("/proc/swan.mp4", &plain, &m), SWAN_E_NOT_FOUND, "/proc/swan.mp4"); /* not even root can */
}

static void test_reading_what_is_no_recipe(void **state)
{
    char *json, *data;
    size_t size;
    expect(swan_mp4_read_comment(scratch_path(*state, "none.mp4"), &json), SWAN_E_NOT_FOUND, "none.mp4");
    expect(swan_mp4_read_comment(*state, &json), SWAN_E_INVALID, "");
    expect(swan_mp4_read_comment(scratch_write(*state, "empty.mp4", "", 0), &json), SWAN_E_FORMAT, "empty.mp4");
    const char *text = scratch_write(*state, "text.mp4", "ffconcat version 1.0\nfile /etc/hosts\n", 37);
    expect(swan_mp4_read_comment(text, &json), SWAN_E_FORMAT, "text.mp4");
    swan_mp4_config c = plain;
    c.comment_json = "{}";
    const char *path = scratch_path(*state, "clip.mp4");
    expect(write_video(path, &c, 2, NULL), SWAN_OK, "");
    expect(swan_file_read(path, 1 << 24, &data, &size), SWAN_OK, "");
    size_t index_end = (size_t)box_at(data, size, "mdat");
    for (size_t cut = 8; cut < index_end; cut += 37) { /* every way to have lost the end */
        swan_status status = swan_mp4_read_comment(scratch_write(*state, "cut.mp4", data, cut), &json);
        if (status == SWAN_OK) free(json);
        else assert_true(status == SWAN_E_FORMAT || status == SWAN_E_NOT_FOUND);
    }
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yuv_matches_bt709),
        cmocka_unit_test(test_yuv_greys),
        cmocka_unit_test_setup_teardown(test_video_reads_back, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_any_length, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_own_reader, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_names_settings_and_one_frame, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_metadata, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_planes_or_rgb, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_same_bytes, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_abort_leaves_nothing, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_disk_full, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_refusals, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_reading_what_is_no_recipe, scratch_open, scratch_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
