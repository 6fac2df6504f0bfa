/* Encoding in chunks: order, time stamps, equal bytes from any number of threads, bounded memory, failures and giving up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <libavcodec/avcodec.h>

#include "media/chunks.h"
#include "media/encoder.h"

enum { WIDTH = 128, HEIGHT = 96, FRAMES = 40, LENGTH = 7 };

static const swan_mp4_config config = {.width = WIDTH, .height = HEIGHT, .fps = 16, .encoder = "libx264"};

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
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < HEIGHT >> (p > 0); y++)
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_threads), cmocka_unit_test(any_number_of_frames), cmocka_unit_test(one_encoder),
        cmocka_unit_test(a_failure_is_everybodys), cmocka_unit_test(other_parameter_sets), cmocka_unit_test(giving_up),
        cmocka_unit_test(misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
