#include "server/pictures.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "media/jpeg.h"

enum { TILE_SIDE = 160, THUMB_SIDE = 480, QUALITY = 85 };

/* The size of width x height within a square of `side`; never larger than it was, never below one pixel. */
static void fit(int width, int height, int side, int *w, int *h)
{
    int longest = width > height ? width : height;
    *w = longest <= side ? width : (int)((int64_t)width * side / longest);
    *h = longest <= side ? height : (int)((int64_t)height * side / longest);
    if (*w < 1) *w = 1;
    if (*h < 1) *h = 1;
}

typedef struct picture {
    const uint8_t *rgb;
    int width, height;
} picture;

/* The mean of the source's pixels under each target pixel. dst: rows are row_bytes apart. */
static void shrink(const picture *from, uint8_t *dst, size_t row_bytes, int w, int h)
{
    for (int y = 0; y < h; y++) {
        int y0 = (int)((int64_t)y * from->height / h), y1 = (int)((int64_t)(y + 1) * from->height / h);
        for (int x = 0; x < w; x++) {
            int x0 = (int)((int64_t)x * from->width / w), x1 = (int)((int64_t)(x + 1) * from->width / w);
            uint64_t sum[3] = {0}, n = (uint64_t)(x1 - x0) * (uint64_t)(y1 - y0);
            for (int v = y0; v < y1; v++)
                for (int u = x0; u < x1; u++)
                    for (int c = 0; c < 3; c++) sum[c] += from->rgb[((size_t)v * (size_t)from->width + (size_t)u) * 3 + (size_t)c];
            for (int c = 0; c < 3; c++) dst[(size_t)y * row_bytes + (size_t)x * 3 + (size_t)c] = (uint8_t)((sum[c] + n / 2) / n);
        }
    }
}

static size_t sheet_row_bytes(const swan_sheet *s) { return (size_t)s->tile_width * SWAN_SHEET_COLUMNS * 3; }

swan_status swan_sheet_open(swan_sheet *s, int frames, int width, int height)
{
    *s = (swan_sheet){.frames = frames, .tiles = frames < SWAN_SHEET_TILES ? frames : SWAN_SHEET_TILES};
    s->rows = (s->tiles + SWAN_SHEET_COLUMNS - 1) / SWAN_SHEET_COLUMNS;
    fit(width, height, TILE_SIDE, &s->tile_width, &s->tile_height);
    fit(width, height, THUMB_SIDE, &s->thumb_width, &s->thumb_height);
    s->tile = calloc((size_t)s->rows * (size_t)s->tile_height, sheet_row_bytes(s));
    s->thumb = calloc((size_t)s->thumb_height, (size_t)s->thumb_width * 3);
    if (s->tile && s->thumb) return SWAN_OK;
    swan_sheet_close(s);
    return SWAN_FAIL(SWAN_E_NOMEM, "pictures of the video: out of memory");
}

void swan_sheet_close(swan_sheet *s)
{
    free(s->tile);
    free(s->thumb);
    *s = (swan_sheet){0};
}

void swan_sheet_add(swan_sheet *s, int index, int width, int height, const uint8_t *rgb)
{
    const picture frame = {rgb, width, height};
    s->seen++;
    if (index == s->frames / 2) shrink(&frame, s->thumb, (size_t)s->thumb_width * 3, s->thumb_width, s->thumb_height);
    for (int i = 0; i < s->tiles; i++) { /* the frame may be that of one tile, as tiles <= frames */
        int wanted = s->tiles > 1 ? (int)((int64_t)i * (s->frames - 1) / (s->tiles - 1)) : 0;
        if (wanted != index) continue;
        size_t row = (size_t)(i / SWAN_SHEET_COLUMNS) * (size_t)s->tile_height, column = (size_t)(i % SWAN_SHEET_COLUMNS);
        shrink(&frame, s->tile + row * sheet_row_bytes(s) + column * (size_t)s->tile_width * 3, sheet_row_bytes(s), s->tile_width, s->tile_height);
    }
}

static swan_status write_jpeg(const char *directory, const char *name, const picture *p)
{
    char path[SWAN_PATH_MAX];
    uint8_t *jpeg;
    size_t bytes;
    swan_file file;
    SWAN_TRY(swan_path_join(directory, name, path, sizeof path));
    SWAN_TRY(swan_jpeg_encode(p->rgb, p->width, p->height, QUALITY, &jpeg, &bytes));
    swan_status status = swan_file_begin(&file, path);
    if (!status) status = swan_file_write(&file, jpeg, bytes);
    free(jpeg);
    if (!status) return swan_file_end(&file);
    swan_file_abort(&file);
    return status;
}

swan_status swan_sheet_write(const swan_sheet *s, const char *directory)
{
    int columns = SWAN_SHEET_COLUMNS;
    if (s->seen != s->frames) return SWAN_BUG("pictures of the video: %d frames of %d", s->seen, s->frames);
    SWAN_TRY(write_jpeg(directory, "thumbnail.jpg", &(picture){s->thumb, s->thumb_width, s->thumb_height}));
    return write_jpeg(directory, "spritesheet.jpg", &(picture){s->tile, columns * s->tile_width, s->rows * s->tile_height});
}

static void base64(char *to, const uint8_t *from, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        unsigned b = (unsigned)from[i] << 16 | (i + 1 < n ? (unsigned)from[i + 1] << 8 : 0) | (i + 2 < n ? from[i + 2] : 0u);
        *to++ = digits[b >> 18];
        *to++ = digits[b >> 12 & 63];
        *to++ = i + 1 < n ? digits[b >> 6 & 63] : '=';
        *to++ = i + 2 < n ? digits[b & 63] : '=';
    }
    *to = 0;
}

swan_status swan_picture_base64(const uint8_t *rgb, int width, int height, int side, char **text)
{
    int w, h;
    uint8_t *jpeg = NULL;
    size_t bytes = 0;
    *text = NULL;
    fit(width, height, side, &w, &h);
    uint8_t *small = malloc((size_t)w * (size_t)h * 3);
    if (!small) return SWAN_FAIL(SWAN_E_NOMEM, "preview: out of memory");
    shrink(&(picture){rgb, width, height}, small, (size_t)w * 3, w, h);
    swan_status status = swan_jpeg_encode(small, w, h, QUALITY, &jpeg, &bytes);
    free(small);
    if (status) return status;
    *text = malloc((bytes + 2) / 3 * 4 + 1);
    if (*text) base64(*text, jpeg, bytes);
    free(jpeg);
    return *text ? SWAN_OK : SWAN_FAIL(SWAN_E_NOMEM, "preview: out of memory");
}
