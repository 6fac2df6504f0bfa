/* Videos read back, frame by frame: mp4 or mov with H.264, yuv420p, as a player sees them. Read through FFmpeg's libav*. */
#ifndef SWAN_MEDIA_VIDEO_H
#define SWAN_MEDIA_VIDEO_H

#include "base/status.h"
#include "media/yuv.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct swan_video swan_video;

/* SWAN_E_NOT_FOUND, SWAN_E_IO; SWAN_E_FORMAT when it is no such video; SWAN_E_UNSUPPORTED when this libav has no decoder for it. */
swan_status swan_video_open(const char *path, swan_video **out);
void swan_video_size(const swan_video *v, int *width, int *height);
/* The next frame in the order of showing; its planes are v's, until the next call. *frame is NULL behind the last one. */
swan_status swan_video_next(swan_video *v, const swan_yuv420 **frame);
/* NULL is fine. */
void swan_video_close(swan_video *v);

#ifdef __cplusplus
}
#endif
#endif
