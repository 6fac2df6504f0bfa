/* Small pictures of a video: a thumbnail (its middle frame) and a spritesheet (frames at even distances, five a row), both JPEG;
 * and single frames for previews. */
#ifndef SWAN_SERVER_PICTURES_H
#define SWAN_SERVER_PICTURES_H

#include "base/status.h"

enum { SWAN_SHEET_COLUMNS = 5, SWAN_SHEET_TILES = 25 };

typedef struct swan_sheet {
    int frames, tiles, rows;
    int tile_width, tile_height, thumb_width, thumb_height;
    uint8_t *tile;  /* u8 [rows tile_height, SWAN_SHEET_COLUMNS tile_width, 3] */
    uint8_t *thumb; /* u8 [thumb_height, thumb_width, 3] */
    int seen;       /* frames */
} swan_sheet;

swan_status swan_sheet_open(swan_sheet *s, int frames, int width, int height);
void swan_sheet_close(swan_sheet *s);
/* Takes a frame, rgb u8 [height, width, 3]; in order, each once. */
void swan_sheet_add(swan_sheet *s, int index, int width, int height, const uint8_t *rgb);
/* Writes directory/thumbnail.jpg and directory/spritesheet.jpg. */
swan_status swan_sheet_write(const swan_sheet *s, const char *directory);

/* rgb u8 [height, width, 3] as JPEG in base64, at most `side` pixels each way. The caller frees *text. */
swan_status swan_picture_base64(const uint8_t *rgb, int width, int height, int side, char **text);

#endif
