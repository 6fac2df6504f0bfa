/* Video files: frames in, an mp4 that plays everywhere out. H.264 (High profile at most), yuv420p, BT.709 limited
 * range and tagged so, constant frame rate, the index before the data ("faststart"). The file appears under its name
 * when it is whole, or not at all. The same frames, settings and libav give the same bytes, on any machine. Written
 * through FFmpeg's libav*, its API only. */
#ifndef SWAN_MEDIA_MP4_H
#define SWAN_MEDIA_MP4_H

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct swan_mp4 swan_mp4;

typedef struct swan_mp4_config {
    int width, height;    /* even, 16 .. 8192 */
    int fps;              /* 1 .. 240 */
    const char *encoder;  /* as libav names it; NULL: the first that opens of libx264, libopenh264, h264_nvenc,
                           * h264_videotoolbox */
    int quality;          /* 1 (largest) .. 51, on x264's CRF scale; 0: 18, at which losses are hard to see. Encoders
                           * but libx264 and h264_nvenc have no such scale and get a bit rate that is about as good */
    const char *preset;   /* effort, in the encoder's own words ("medium", "slow"), ignored by encoders that have none;
                           * NULL: "veryfast" for libx264, else what the encoder does by itself */
    int64_t frames;       /* how many there will be; 0: not known. What is encoded at a time is cut accordingly */
    const char *title, *comment_json; /* metadata: what it shows, and the recipe; NULL: left out */
} swan_mp4_config;

/* Whether swan_mp4_open would work, at no cost, so that a mistake shows before the work and not after. Leaves nothing
 * behind. */
swan_status swan_mp4_check(const char *path, const swan_mp4_config *c);

/* What swan_mp4_open makes of a configuration: the encoder's name, its preset ("" where it has none or keeps it to itself) and
 * the quality. Fails as it does. */
typedef struct swan_mp4_choice {
    char encoder[32], preset[32];
    int quality;
} swan_mp4_choice;
swan_status swan_mp4_choose(const swan_mp4_config *c, swan_mp4_choice *out);

/* Host memory that writing it takes at most, roughly: frames on their way, and what encoders keep. */
uint64_t swan_mp4_bytes(const swan_mp4_config *c);

/* Begins a video in a temporary file beside path. Strings are copied. SWAN_E_INVALID (size, rate, quality, or an
 * ending other than .mp4), SWAN_E_IO (cannot be written there), SWAN_E_UNSUPPORTED (no such or no H.264 encoder in
 * this libav), SWAN_E_NOMEM. */
swan_status swan_mp4_open(const char *path, const swan_mp4_config *c, swan_mp4 **out);

/* Adds a frame: rgb u8 [H, W, 3]. Encoding goes on on threads of its own; what they fail with, a later call fails with. After a
 * failure only close and abort make sense. */
swan_status swan_mp4_write(swan_mp4 *m, const uint8_t *rgb);
/* The same from planes as swan_yuv420_from_rgb makes them, one behind the other: u8 Y [H, W], Cb and Cr [H/2, W/2]. */
swan_status swan_mp4_write_i420(swan_mp4 *m, const uint8_t *i420);

/* Ends the video: the last frames, the index, flush to disk, rename to path. Size of the file in *bytes (may be
 * NULL). On failure, or when a write had failed or there was none, nothing is left and what was at path stays. m is
 * freed in any case. */
swan_status swan_mp4_close(swan_mp4 *m, uint64_t *bytes);

/* Gives up: nothing is left behind. NULL is fine. */
void swan_mp4_abort(swan_mp4 *m);

/* The comment of an mp4 or mov file, which in Swan's videos is the recipe; the caller frees *json. SWAN_E_NOT_FOUND
 * when there is no such file or no comment in it, SWAN_E_FORMAT when it is not an mp4. */
swan_status swan_mp4_read_comment(const char *path, char **json);

#ifdef __cplusplus
}
#endif
#endif
