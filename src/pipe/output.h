/* Where frames go: to the mp4 through the encoding thread, to the frame callback, to the dump; or to be compared with a video. */
#ifndef SWAN_PIPE_OUTPUT_H
#define SWAN_PIPE_OUTPUT_H

#include "pipe/dump.h"
#include "pipe/progress.h"

typedef struct swan_output {
    struct swan_session *session;
    struct swan_mp4 *mp4;             /* NULL: no file */
    struct swan_comparison *comparison; /* NULL: none */
    struct swan_frame_queue *queue;   /* NULL: neither file nor callback */
    bool i420;                        /* frames cross as planes for the encoder; otherwise as rgb, which callbacks get */
    int64_t sent, received;           /* from a GPU */
    char *recipe;                     /* JSON for the file's metadata */
} swan_output;

/* Opens what the settings ask for: fails now, before any work, when the file cannot be written. */
swan_status swan_output_open(swan_output *o, struct swan_session *s, const char *prompt, uint64_t seed);
/* Waits for the encoder and puts the file in place; bytes: its size, 0 without a file. */
swan_status swan_output_finish(swan_output *o, uint64_t *bytes);
/* Host memory that frames take, and what becomes of them, beside the session's own: an estimate for the plan. */
uint64_t swan_output_bytes(const struct swan_session *s);
/* Leaves nothing behind; also after finish, where it does nothing. */
void swan_output_abort(swan_output *o);

/* The file of the session's last request beside its frames: they are decoded once more, from the latents that are still there, and
 * compared with those that a player would show. */
typedef struct swan_output_facts {
    char encoder[32], preset[32]; /* preset: "" where the encoder has none */
    int quality;
    double y_psnr;        /* dB, of the mean squared error of all frames, against what the encoder was given; 0: not known */
    char no_psnr[256];    /* then, why */
} swan_output_facts;
/* Fails when the frames cannot be decoded, or are not as many as the file's. */
swan_status swan_output_examine(struct swan_session *s, swan_output_facts *facts);

/* One decoded frame's way (a swan_taehv_sink). */
typedef struct swan_frame_path {
    struct swan_session *session;
    swan_output *output;
    swan_dump *dump;
    swan_clock *clock;
} swan_frame_path;
swan_status swan_output_frame(void *user, swan_ctx *ctx, int64_t index, const swan_tensor *frame);

#endif
