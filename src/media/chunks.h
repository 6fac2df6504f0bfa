/* Frames in, packets out, in order, with the encoding between on threads of its own: a video is cut into chunks, each of them an
 * encoder's whole life, so that several are encoded at a time and none knows of another. What comes out depends on the frames and
 * on where the cuts are, not on how many threads there are. One thread gives and takes; memory is bounded by frames_most.
 *
 * In every chunk packet k has the time stamp dts = first + k - delay, where first is the chunk's first frame and delay is that of
 * the first chunk: as one encoder would have it. pts is the frame's number. */
#ifndef SWAN_MEDIA_CHUNKS_H
#define SWAN_MEDIA_CHUNKS_H

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct AVCodecContext;
struct AVFrame;
struct AVPacket;

typedef struct swan_chunks swan_chunks;

/* Opens an encoder just like the first one. From several threads. */
typedef swan_status swan_chunks_opener(void *user, struct AVCodecContext **out);

typedef struct swan_chunks_config {
    const char *file;         /* for messages; stays the caller's */
    int length;               /* frames in a chunk; 0: the whole video is one */
    int64_t frames;           /* of the video: encoders are opened before their frames are there; 0: not known */
    int threads, frames_most; /* 1 or more */
    swan_chunks_opener *open;
    void *user;
} swan_chunks_config;

/* Takes first, also when it fails; its parameter sets are those of the video. */
swan_status swan_chunks_open(const swan_chunks_config *c, struct AVCodecContext *first, swan_chunks **out);

/* The next frame, to be filled: yuv420p, nobody else's. Waits while frames_most are under way. Fails with what a thread failed
 * with, as do the others. */
swan_status swan_chunks_frame(swan_chunks *q, struct AVFrame **frame);
/* Hands it to its chunk. Never waits. */
swan_status swan_chunks_push(swan_chunks *q);
/* No more frames. */
void swan_chunks_end(swan_chunks *q);

/* The next packet of the video in *packet, the caller's to free, in the encoder's time base; NULL: there is none yet or, after the
 * end, none any more. Waits for it after the end, and only then. */
swan_status swan_chunks_packet(swan_chunks *q, struct AVPacket **packet);

/* Ends the threads, within a frame, and frees everything. NULL is fine. */
void swan_chunks_close(swan_chunks *q);

#ifdef __cplusplus
}
#endif
#endif
