/* Still pictures: an RGB frame as JPEG (JFIF, full range, no chroma subsampling). Written through FFmpeg's libav*. */
#ifndef SWAN_MEDIA_JPEG_H
#define SWAN_MEDIA_JPEG_H

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* rgb u8 [H, W, 3], 1 to 8192 pixels each way. quality: 1 (smallest) .. 100. The caller frees *jpeg. The same picture gives the
 * same bytes. SWAN_E_UNSUPPORTED: this libav has no mjpeg encoder. */
swan_status swan_jpeg_encode(const uint8_t *rgb, int width, int height, int quality, uint8_t **jpeg, size_t *bytes);

#ifdef __cplusplus
}
#endif
#endif
