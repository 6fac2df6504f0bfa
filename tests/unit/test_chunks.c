/* Encoding in chunks: order, time stamps, equal bytes from any number of threads, bounded memory, failures and giving up;
 * slices, and the threads for them. */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <libavcodec/avcodec.h>

#include "media/chunks.h"
#include "media/encoder.h"

enum { WIDTH = 128, HEIGHT = 96, TALL = 448, FRAMES = 40, LENGTH = 7 };

/* Each test runs twice: with frames in one slice, and in two, which x264 works on side by side. */
static swan_mp4_config config = {.width = WIDTH, .fps = 16, .encoder = "libx264"};

static int one_slice(void **state)
{
    (void)state;
    config.height = HEIGHT;
    return 0;
}

static int two_slices(void **state)
{
    (void)state;
    config.height = TALL;
    return 0;
}

static void expect(swan_status got, swan_status want, const char *says)
{
    if (got != want || (want != SWAN_OK && !strstr(swan_last_error(), says)))
        fail_msg("%s (\"%s\"), wanted %s saying \"%s\"", swan_status_name(got), swan_last_error(), swan_status_name(want), says);
}

/* What opens encoders after the first one: a failure from the n-th call on, or encoders with other settings. */
typedef struct source {
    atomic_int calls;
    int fail_at; /* 0: never */
    bool other;
} source;

static swan_status open_encoder(void *user, AVCodecContext **out)
{
    source *s = user;
    *out = NULL;
    if (atomic_fetch_add(&s->calls, 1) + 1 == s->fail_at) return SWAN_FAIL(SWAN_E_NOMEM, "clip.mp4: no encoder number %d", s->fail_at);
    swan_mp4_config c = config;
    if (s->other) c.preset = "medium"; /* three reference frames instead of one: it shows in the parameter sets */
    return swan_encoder_open("clip.mp4", &c, out);
}

static swan_chunks *open_chunks(source *s, int length, int threads, int frames_most, int64_t frames)
{
    swan_chunks_config c = {.file = "clip.mp4", .length = length, .frames = frames, .threads = threads, .frames_most = frames_most,
                            .open = open_encoder, .user = s};
    AVCodecContext *first;
    swan_chunks *q;
    expect(swan_encoder_open("clip.mp4", &config, &first), SWAN_OK, "");
    expect(swan_chunks_open(&c, first, &q), SWAN_OK, "");
    return q;
}

static void paint(AVFrame *f, int t)
{
    assert_int_equal(f->width, WIDTH);
    assert_int_equal(f->height, config.height);
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < f->height >> (p > 0); y++)
            for (int x = 0; x < WIDTH >> (p > 0); x++)
                f->data[p][y * f->linesize[p] + x] = (uint8_t)(p ? 100 + t : ((x + 2 * t) * (y + t) >> 3) + 40);
}

/* What came out: for every packet its times, and all their bytes. */
typedef struct stream {
    int packets;
    int64_t pts[FRAMES], dts[FRAMES];
    bool key[FRAMES];
    uint8_t *bytes;
    size_t size;
} stream;

static swan_status take_packets(swan_chunks *q, stream *s)
{
    for (;;) {
        AVPacket *p;
        swan_status status = swan_chunks_packet(q, &p);
        if (status || !p) return status;
        assert_true(s->packets < FRAMES);
        s->pts[s->packets] = p->pts;
        s->dts[s->packets] = p->dts;
        s->key[s->packets++] = (p->flags & AV_PKT_FLAG_KEY) != 0;
        s->bytes = realloc(s->bytes, s->size + (size_t)p->size);
        memcpy(s->bytes + s->size, p->data, (size_t)p->size);
        s->size += (size_t)p->size;
        av_packet_free(&p);
    }
}

static swan_status encode(swan_chunks *q, int frames, stream *s)
{
    *s = (stream){0};
    for (int t = 0; t < frames; t++) {
        AVFrame *f;
        SWAN_TRY(swan_chunks_frame(q, &f));
        paint(f, t);
        SWAN_TRY(swan_chunks_push(q));
        SWAN_TRY(take_packets(q, s));
    }
    swan_chunks_end(q);
    return take_packets(q, s);
}

static void check_times(const stream *s, int frames, int length)
{
    bool seen[FRAMES] = {false};
    assert_int_equal(s->packets, frames);
    for (int k = 0; k < frames; k++) {
        assert_in_range(s->pts[k], 0, frames - 1);
        assert_false(seen[s->pts[k]]);
        seen[s->pts[k]] = true;
        assert_int_equal(s->dts[k], s->dts[0] + k);
        assert_true(s->dts[k] <= s->pts[k]);
        /* a chunk begins with the one frame of it that one can jump to */
        assert_int_equal(s->key[k], k % length == 0);
        assert_int_equal(s->pts[k] / length, k / length);
    }
}

/* How often x264's introduction of itself is in there. */
static int banners(const stream *s)
{
    static const char text[] = "x264 - core";
    int n = 0;
    for (size_t i = 0; i + sizeof text <= s->size; i++) n += memcmp(s->bytes + i, text, sizeof text - 1) == 0;
    return n;
}

static void any_number_of_threads(void **state)
{
    (void)state;
    static const struct {
        int threads, frames_most;
        int64_t frames;
    } rows[] = {{1, 1, 0}, {1, 28, FRAMES}, {2, 2, 0}, {3, 21, FRAMES}, {8, 56, 0}, {8, 3, FRAMES}, {4, 56, 2}, {2, 9, 1000}};
    stream want = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        source s = {0};
        stream got;
        swan_chunks *q = open_chunks(&s, LENGTH, rows[i].threads, rows[i].frames_most, rows[i].frames);
        expect(encode(q, FRAMES, &got), SWAN_OK, "");
        swan_chunks_close(q);
        check_times(&got, FRAMES, LENGTH);
        assert_int_equal(got.dts[0], -2); /* as one encoder has it: frames are reordered by two at most */
        assert_int_equal(banners(&got), 1);
        if (i == 0) {
            want = got;
            continue;
        }
        assert_int_equal(got.size, want.size);
        assert_memory_equal(got.bytes, want.bytes, want.size);
        free(got.bytes);
    }
    free(want.bytes);
}

static void any_number_of_frames(void **state)
{
    (void)state;
    static const int counts[] = {1, 2, 3, 6, 7, 8, 9, 14, 15, 16};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        source s = {0};
        stream got;
        swan_chunks *q = open_chunks(&s, LENGTH, 2, 2 * LENGTH, counts[i]);
        expect(encode(q, counts[i], &got), SWAN_OK, "");
        AVPacket *none;
        expect(swan_chunks_packet(q, &none), SWAN_OK, "");
        assert_null(none);
        swan_chunks_close(q);
        check_times(&got, counts[i], LENGTH);
        assert_int_equal(atomic_load(&s.calls), (counts[i] - 1) / LENGTH); /* and no encoder for nothing */
        free(got.bytes);
    }
}

/* Without chunks the encoder sees the whole video, and its time stamps stay. */
static void one_encoder(void **state)
{
    (void)state;
    source s = {0};
    stream got;
    swan_chunks *q = open_chunks(&s, 0, 1, 3, FRAMES);
    expect(encode(q, FRAMES, &got), SWAN_OK, "");
    swan_chunks_close(q);
    assert_int_equal(atomic_load(&s.calls), 0);
    assert_int_equal(got.packets, FRAMES);
    assert_true(got.key[0]);
    for (int k = 1; k < FRAMES; k++) assert_true(got.dts[k] > got.dts[k - 1]);
    free(got.bytes);
}

static void a_failure_is_everybodys(void **state)
{
    (void)state;
    for (int fail_at = 1; fail_at <= 5; fail_at++)
        for (int threads = 1; threads <= 4; threads += 3) {
            source s = {.fail_at = fail_at};
            stream got;
            swan_chunks *q = open_chunks(&s, LENGTH, threads, threads * LENGTH, FRAMES);
            char says[64];
            snprintf(says, sizeof says, "clip.mp4: no encoder number %d", fail_at);
            expect(encode(q, FRAMES, &got), SWAN_E_NOMEM, says);
            AVFrame *f;
            AVPacket *p;
            expect(swan_chunks_frame(q, &f), SWAN_E_NOMEM, says);
            expect(swan_chunks_packet(q, &p), SWAN_E_NOMEM, says);
            assert_null(p);
            swan_chunks_close(q);
            free(got.bytes);
        }
}

static void other_parameter_sets(void **state)
{
    (void)state;
    source s = {.other = true};
    stream got;
    swan_chunks *q = open_chunks(&s, LENGTH, 2, 2 * LENGTH, 0);
    expect(encode(q, FRAMES, &got), SWAN_E_UNSUPPORTED, "clip.mp4: encoder libx264 gives every chunk other parameter sets");
    swan_chunks_close(q);
    free(got.bytes);
}

static void giving_up(void **state)
{
    (void)state;
    for (int frames = 0; frames < FRAMES; frames += 5)
        for (int threads = 1; threads <= 4; threads += 3) {
            source s = {0};
            swan_chunks *q = open_chunks(&s, LENGTH, threads, threads * LENGTH, FRAMES);
            AVFrame *f;
            for (int t = 0; t < frames; t++) {
                expect(swan_chunks_frame(q, &f), SWAN_OK, "");
                paint(f, t);
                expect(swan_chunks_push(q), SWAN_OK, "");
            }
            if (frames % 2) expect(swan_chunks_frame(q, &f), SWAN_OK, "");
            swan_chunks_close(q);
        }
    swan_chunks_close(NULL);
}

static void misuse(void **state)
{
    (void)state;
    source s = {0};
    swan_chunks *q = open_chunks(&s, LENGTH, 1, LENGTH, 0);
    AVFrame *f, *again;
    expect(swan_chunks_push(q), SWAN_E_BUG, "without one to fill");
    expect(swan_chunks_frame(q, &f), SWAN_OK, "");
    expect(swan_chunks_frame(q, &again), SWAN_OK, "");
    assert_ptr_equal(f, again);
    swan_chunks_end(q);
    expect(swan_chunks_push(q), SWAN_E_BUG, "after the end");
    swan_chunks_close(q);
}

/* How many slices of a picture are in there: NAL units of type 1 or 5 behind start codes. */
static int slices_in(const AVPacket *p)
{
    int n = 0;
    for (int i = 0; i + 3 < p->size; i++) {
        const uint8_t *at = p->data + i;
        if (at[0] == 0 && at[1] == 0 && at[2] == 1) n += (at[3] & 31) == 1 || (at[3] & 31) == 5;
    }
    return n;
}

/* By height alone, in every frame. */
static void slices_by_height(void **state)
{
    (void)state;
    static const struct {
        int height, slices;
    } rows[] = {{16, 1}, {446, 1}, {448, 2}, {480, 2}, {670, 2}, {672, 3}, {720, 3}, {894, 3}, {896, 4}, {1080, 4}, {2160, 4}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        source s = {0};
        AVFrame *f;
        AVPacket *p;
        config.height = rows[i].height;
        swan_chunks *q = open_chunks(&s, LENGTH, 1, LENGTH, 3);
        for (int t = 0; t < 3; t++) {
            expect(swan_chunks_frame(q, &f), SWAN_OK, "");
            paint(f, t);
            expect(swan_chunks_push(q), SWAN_OK, "");
        }
        swan_chunks_end(q);
        for (int k = 0; k < 3; k++) {
            expect(swan_chunks_packet(q, &p), SWAN_OK, "");
            assert_non_null(p);
            assert_int_equal(slices_in(p), rows[i].slices);
            av_packet_free(&p);
        }
        swan_chunks_close(q);
    }
}

/* Frames that an encoder wants before it gives the first packet. */
static int frames_ahead(int height)
{
    AVCodecContext *x;
    AVFrame *f = av_frame_alloc();
    AVPacket *p = av_packet_alloc();
    config.height = height;
    expect(swan_encoder_open("clip.mp4", &config, &x), SWAN_OK, "");
    int n = 0, error = AVERROR(EAGAIN);
    for (; error == AVERROR(EAGAIN) && n < FRAMES; n++) {
        av_frame_unref(f);
        f->format = x->pix_fmt;
        f->width = x->width;
        f->height = x->height;
        assert_int_equal(av_frame_get_buffer(f, 0), 0);
        paint(f, n);
        f->pts = n;
        assert_int_equal(avcodec_send_frame(x, f), 0);
        error = avcodec_receive_packet(x, p);
    }
    assert_int_equal(error, 0);
    av_frame_free(&f);
    av_packet_free(&p);
    avcodec_free_context(&x);
    return n;
}

/* As a thread for each frame would: memory is planned, and chunks are small. */
static void slices_delay_no_frame(void **state)
{
    (void)state;
    assert_int_equal(frames_ahead(TALL), frames_ahead(TALL - 2));
    assert_int_equal(frames_ahead(4 * TALL), frames_ahead(TALL - 2));
}

/* Threads of this process that would take SIGINT; all: how many there are. */
static int threads_with_signals(int *all)
{
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    int n = 0;
    *all = 0;
    for (const struct dirent *e; (e = readdir(tasks));) {
        if (e->d_name[0] == '.') continue;
        char path[300], line[200];
        snprintf(path, sizeof path, "/proc/self/task/%s/status", e->d_name);
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        unsigned long long blocked = 0;
        while (fgets(line, sizeof line, file))
            if (strncmp(line, "SigBlk:", 7) == 0) blocked = strtoull(line + 7, NULL, 16);
        fclose(file);
        n += !(blocked >> (SIGINT - 1) & 1);
        ++*all;
    }
    closedir(tasks);
    return n;
}

/* Those of x264 neither, whoever opened it; and the one that did keeps its own. */
static void no_signals_for_the_encoder(void **state)
{
    (void)state;
    if (access("/proc/self/task", R_OK) != 0) skip();
    AVCodecContext *x;
    int before, all;
    config.height = TALL;
    int took = threads_with_signals(&before); /* this one, and a sanitizer's */
    assert_true(took >= 1);
    expect(swan_encoder_open("clip.mp4", &config, &x), SWAN_OK, "");
    assert_int_equal(threads_with_signals(&all), took);
    assert_true(all >= before + 2);
    avcodec_free_context(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_threads), cmocka_unit_test(any_number_of_frames), cmocka_unit_test(one_encoder),
        cmocka_unit_test(a_failure_is_everybodys), cmocka_unit_test(other_parameter_sets), cmocka_unit_test(giving_up),
        cmocka_unit_test(misuse),
    };
    const struct CMUnitTest once[] = {cmocka_unit_test(slices_by_height), cmocka_unit_test(slices_delay_no_frame),
                                       cmocka_unit_test(no_signals_for_the_encoder)};
    int failed = cmocka_run_group_tests_name("one slice", tests, one_slice, NULL);
    failed += cmocka_run_group_tests_name("two slices", tests, two_slices, NULL);
    return failed + cmocka_run_group_tests_name("slices", once, NULL, NULL);
}
