/* --dump DIR: every intermediate result as a NumPy file, for comparing with another implementation.
 * ids i32 [n]; context f32 [n, text_dim]; noise f32 [16, T, Hl, Wl]; per step i velocity_i, x0_i, renoise_i (where noise was
 * added); latents; frames f32 [F, 3, H, W] in [0, 1]. Without the option every call returns at once. */
#ifndef SWAN_PIPE_DUMP_H
#define SWAN_PIPE_DUMP_H

#include "ckpt/npy.h"
#include "pipe/session.h"

typedef struct swan_dump {
    const char *directory; /* NULL: off */
    const swan_ctx *ctx;   /* of the session: the way to the host */
    swan_tensor frames;    /* f32 [F, 3, H, W], from malloc */
} swan_dump;

/* Makes the directory when it is missing. */
swan_status swan_dump_open(swan_dump *d, const struct swan_session *s);
void swan_dump_close(swan_dump *d);
swan_status swan_dump_text(const swan_dump *d, const struct swan_session *s, int tokens);
swan_status swan_dump_latent(const swan_dump *d, const char *name, const swan_tensor *latent);
swan_status swan_dump_step(const swan_dump *d, const struct swan_session *s, int step, bool renoised);
/* Keeps one frame [H, W, 3], clamped to [0, 1]; swan_dump_frames writes them all. */
swan_status swan_dump_frame(swan_dump *d, int64_t index, const swan_tensor *frame);
swan_status swan_dump_frames(const swan_dump *d);

#endif
