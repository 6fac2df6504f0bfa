/* encode_clip CLIP FILE.mp4 FILE.yuv [PRESET [QUALITY]]: makes a synthetic clip of 81 frames of 832x480, encodes it as
 * `swan generate` does, and prints one line: how long it takes to change colours, how long from the first frame to the closed file
 * (each the best of three), how large that is, and the Y-PSNR of what a player shows. FILE.yuv gets the frames as the encoder saw them (yuv420p), to compare with. run.sh --encode
 * builds and runs it.
 *
 * CLIP: world (flat drawings), pan (a natural spectrum with moving parts), grain (pan with film grain, sigma 2), noise (blurred,
 * other in every frame, which an encoder searches through longest). */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "media/mp4.h"
#include "media/video.h"
#include "media/yuv.h"
#include "world/world.h"

enum { WIDTH = 832, HEIGHT = 480, FRAMES = 81, FPS = 16, RUNS = 3, TEXTURE = 1024, OCTAVES = 8, BLUR = 8 };
enum { FRAME_BYTES = WIDTH * HEIGHT * 3, PLANES_BYTES = WIDTH * HEIGHT * 3 / 2 };

static uint32_t random_state = 1;

static float uniform(void) /* [-1, 1) */
{
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(random_state >> 8) / 8388608.0f - 1.0f;
}

/* texture f32 [TEXTURE, TEXTURE, 3], periodic: octaves of smooth noise, each with 0.55 of the amplitude of the one with
 * half its frequency, around 128. */
static void paint_texture(float *texture)
{
    static float lattice[TEXTURE * TEXTURE * 3];
    for (int i = 0; i < TEXTURE * TEXTURE * 3; i++) texture[i] = 128;
    float amplitude = 70;
    for (int octave = 0; octave < OCTAVES; octave++, amplitude *= 0.55f) {
        int n = 4 << octave;
        for (int i = 0; i < n * n * 3; i++) lattice[i] = uniform();
        for (int y = 0; y < TEXTURE; y++)
            for (int x = 0; x < TEXTURE; x++) {
                int scale = TEXTURE / n, x0 = x / scale, y0 = y / scale, x1 = (x0 + 1) % n, y1 = (y0 + 1) % n;
                float u = (float)(x % scale) / (float)scale, v = (float)(y % scale) / (float)scale;
                u = u * u * (3 - 2 * u);
                v = v * v * (3 - 2 * v);
                for (int c = 0; c < 3; c++) {
                    const float *l = lattice + c;
                    float upper = l[3 * (y0 * n + x0)] * (1 - u) + l[3 * (y0 * n + x1)] * u;
                    float lower = l[3 * (y1 * n + x0)] * (1 - u) + l[3 * (y1 * n + x1)] * u;
                    texture[3 * (y * TEXTURE + x) + c] += amplitude * (upper * (1 - v) + lower * v);
                }
            }
    }
}

/* Between four texels. */
static float sample(const float *texture, float x, float y, int c)
{
    float fx = floorf(x), fy = floorf(y), u = x - fx, v = y - fy;
    int x0 = (int)fx & (TEXTURE - 1), y0 = (int)fy & (TEXTURE - 1), x1 = (x0 + 1) & (TEXTURE - 1);
    int y1 = (y0 + 1) & (TEXTURE - 1);
    return (texture[3 * (y0 * TEXTURE + x0) + c] * (1 - u) + texture[3 * (y0 * TEXTURE + x1) + c] * u) * (1 - v) +
           (texture[3 * (y1 * TEXTURE + x0) + c] * (1 - u) + texture[3 * (y1 * TEXTURE + x1) + c] * u) * v;
}

/* A slow pan and zoom with three discs of other texture that move over it. */
static void paint_pan(const float *texture, float grain, int t, uint8_t *rgb)
{
    float time = (float)t / FPS, zoom = 1 - 0.03f * time;
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            float tx = ((float)x - WIDTH / 2) * zoom + 40 * time, ty = ((float)y - HEIGHT / 2) * zoom + 9 * time;
            for (int k = 0; k < 3; k++) {
                float px = WIDTH * (0.5f + 0.35f * sinf(0.9f * time + 2.1f * (float)k));
                float py = HEIGHT * (0.5f + 0.3f * cosf(1.3f * time + 1.7f * (float)k));
                float dx = (float)x - px, dy = (float)y - py;
                if (dx * dx + dy * dy < 3600) {
                    tx = dx + 300 * (float)(k + 1);
                    ty = dy - 200 * (float)(k + 1);
                }
            }
            for (int c = 0; c < 3; c++) {
                float value = sample(texture, tx, ty, c);
                /* the sum of three uniforms has a variance of 1 */
                if (grain > 0) value += grain * (uniform() + uniform() + uniform());
                rgb[3 * (y * WIDTH + x) + c] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value + 0.5f);
            }
        }
}

/* dst = src averaged over 2 BLUR + 1 pixels of a row or a column, around its ends. */
static void blur(const float *src, float *dst, bool along_x)
{
    int length = along_x ? WIDTH : HEIGHT;
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            for (int c = 0; c < 3; c++) {
                float sum = 0;
                for (int d = -BLUR; d <= BLUR; d++) {
                    int at = ((along_x ? x : y) + d + length) % length;
                    sum += src[3 * (along_x ? y * WIDTH + at : at * WIDTH + x) + c];
                }
                dst[3 * (y * WIDTH + x) + c] = sum / (2 * BLUR + 1);
            }
}

/* Blurred twice, around 128, sigma 8. */
static void paint_noise(uint8_t *rgb)
{
    static float noise[FRAME_BYTES], other[FRAME_BYTES];
    double squares = 0;
    for (int i = 0; i < FRAME_BYTES; i++) noise[i] = uniform() + uniform() + uniform();
    for (int pass = 0; pass < 2; pass++) {
        blur(noise, other, true);
        blur(other, noise, false);
    }
    for (int i = 0; i < FRAME_BYTES; i++) squares += noise[i] * noise[i];
    float scale = (float)(8 / sqrt(squares / FRAME_BYTES));
    for (int i = 0; i < FRAME_BYTES; i++) rgb[i] = (uint8_t)(128.5f + scale * noise[i]);
}

static int paint(const char *clip, uint8_t *rgb)
{
    if (!strcmp(clip, "world")) {
        swan_world_scene scene;
        swan_world_scene_from_index(1, 5, SWAN_WORLD_TRAIN, &scene);
        swan_world_render(&scene, WIDTH, HEIGHT, FRAMES, FPS, rgb);
        return 0;
    }
    if (strcmp(clip, "noise") == 0) {
        for (int t = 0; t < FRAMES; t++) paint_noise(rgb + (size_t)t * FRAME_BYTES);
        return 0;
    }
    if (strcmp(clip, "pan") != 0 && strcmp(clip, "grain") != 0) return -1;
    static float texture[TEXTURE * TEXTURE * 3];
    paint_texture(texture);
    float grain = strcmp(clip, "grain") == 0 ? 2 : 0;
    for (int t = 0; t < FRAMES; t++) paint_pan(texture, grain, t, rgb + (size_t)t * FRAME_BYTES);
    return 0;
}

/* What the encoder is given. */
static void change_colours(const uint8_t *rgb, uint8_t *planes)
{
    for (int t = 0; t < FRAMES; t++, rgb += FRAME_BYTES, planes += PLANES_BYTES) {
        swan_yuv420 dst = {{planes, planes + WIDTH * HEIGHT, planes + WIDTH * HEIGHT * 5 / 4}, {WIDTH, WIDTH / 2, WIDTH / 2}};
        swan_yuv420_from_rgb(&dst, rgb, WIDTH, HEIGHT);
    }
}

static swan_status write_yuv(const char *path, const uint8_t *planes)
{
    FILE *file = fopen(path, "wb");
    size_t written = file ? fwrite(planes, PLANES_BYTES, FRAMES, file) : 0;
    if (file && fclose(file) == 0 && written == FRAMES) return SWAN_OK;
    return SWAN_FAIL(SWAN_E_IO, "%s: cannot be written", path);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* As with a GPU: the file is opened long before the first frame, and then they all come as planes. */
static swan_status encode(const char *path, const swan_mp4_config *config, const uint8_t *planes, uint64_t *bytes, double *seconds)
{
    swan_mp4 *m;
    *seconds = 0;
    SWAN_TRY(swan_mp4_open(path, config, &m));
    nanosleep(&(struct timespec){0, 200000000}, NULL);
    double start = now();
    swan_status status = SWAN_OK;
    for (int t = 0; t < FRAMES && status == SWAN_OK; t++) status = swan_mp4_write_i420(m, planes + (size_t)t * PLANES_BYTES);
    swan_status closed = swan_mp4_close(m, bytes);
    *seconds = now() - start;
    return status != SWAN_OK ? status : closed;
}

static swan_status compare(const char *path, const uint8_t *planes, double *y_psnr)
{
    swan_video *video;
    const swan_yuv420 *shown;
    double squares = 0;
    SWAN_TRY(swan_video_open(path, &video));
    swan_status status = SWAN_OK;
    for (int t = 0; t < FRAMES && status == SWAN_OK; t++, planes += PLANES_BYTES) {
        status = swan_video_next(video, &shown);
        if (status == SWAN_OK && !shown) status = SWAN_FAIL(SWAN_E_FORMAT, "%s: ends before frame %d", path, t);
        for (int i = 0; i < WIDTH * HEIGHT && status == SWAN_OK; i++) {
            double off = planes[i] - shown->plane[0][(size_t)(i / WIDTH) * shown->stride[0] + (size_t)(i % WIDTH)];
            squares += off * off;
        }
    }
    swan_video_close(video);
    *y_psnr = 10 * log10(255.0 * 255.0 * WIDTH * HEIGHT * FRAMES / squares);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 6) {
        fprintf(stderr, "usage: encode_clip world|pan|grain|noise FILE.mp4 FILE.yuv [PRESET [QUALITY]]\n");
        return 2;
    }
    uint8_t *rgb = malloc((size_t)FRAMES * FRAME_BYTES), *planes = malloc((size_t)FRAMES * PLANES_BYTES);
    if (!rgb || !planes || paint(argv[1], rgb) != 0) {
        fprintf(stderr, "encode_clip: the clip %s could not be made\n", argv[1]);
        return 1;
    }
    memset(planes, 1, (size_t)FRAMES * PLANES_BYTES); /* its pages exist now */
    double colours = 1e9, seconds = 1e9, once, y_psnr;
    for (int run = 0; run < RUNS; run++) {
        double start = now();
        change_colours(rgb, planes);
        if (now() - start < colours) colours = now() - start;
    }
    swan_mp4_config config = {.width = WIDTH, .height = HEIGHT, .fps = FPS, .frames = FRAMES, .preset = argc > 4 ? argv[4] : NULL,
                              .quality = argc > 5 ? atoi(argv[5]) : 0};
    uint64_t bytes = 0;
    swan_status status = write_yuv(argv[3], planes);
    for (int run = 0; run < RUNS && status == SWAN_OK; run++) {
        status = encode(argv[2], &config, planes, &bytes, &once);
        if (once < seconds) seconds = once;
    }
    if (status == SWAN_OK) status = compare(argv[2], planes, &y_psnr);
    if (status != SWAN_OK) {
        fprintf(stderr, "encode_clip: %s\n", swan_last_error());
        return 1;
    }
    printf("%s %s: colours %.2f ms a frame; encoded in %.3f s, %.2f ms a frame, %llu bytes, %.0f kbit/s, Y-PSNR %.3f dB\n", argv[1],
           argc > 4 ? argv[4] : "default", 1e3 * colours / FRAMES, seconds, 1e3 * seconds / FRAMES, (unsigned long long)bytes,
           8e-3 * (double)bytes * FPS / FRAMES, y_psnr);
    free(planes);
    free(rgb);
    return 0;
}
