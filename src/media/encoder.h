/* H.264 encoders of libav: which there are, how each is told what swan_mp4_config asks for, and one opened. */
#ifndef SWAN_MEDIA_ENCODER_H
#define SWAN_MEDIA_ENCODER_H

#include "media/mp4.h"

#ifdef __cplusplus
extern "C" {
#endif

struct AVCodecContext;

/* Opens the encoder that c names, or the first that works; frames have a time base of 1/fps. file is for messages. From any
 * thread. SWAN_E_UNSUPPORTED when this libav or this machine has it not, SWAN_E_INVALID for a preset that it has not. The caller
 * frees *out with avcodec_free_context. */
swan_status swan_encoder_open(const char *file, const swan_mp4_config *c, struct AVCodecContext **out);

/* The name of the encoder that c is likely to get, found out without opening any; NULL: none. */
const char *swan_encoder_likely(const swan_mp4_config *c);

/* Frames in a chunk, where the encoder of this name is run once for each chunk of a video (media/chunks.h);
 * 0: it takes the whole video. `frames` is the video's length, 0 when nobody knows: chunks are then a second long and the
 * last one may be short; otherwise they are as even as can be, and no longer than a second. */
int swan_encoder_chunk(const char *name, int fps, int64_t frames);

#ifdef __cplusplus
}
#endif
#endif
