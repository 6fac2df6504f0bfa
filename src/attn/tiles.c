#include "attn/tiles.h"

#include <math.h>

static int64_t tiles_along(int64_t n) { return (n + SWAN_TILE - 1) / SWAN_TILE; }
static int64_t end_of(int64_t tile, int64_t n) { return (tile + 1) * SWAN_TILE < n ? (tile + 1) * SWAN_TILE : n; }

int64_t swan_grid_tokens(swan_grid g) { return g.t * g.h * g.w; }
int64_t swan_grid_tiles(swan_grid g) { return tiles_along(g.t) * tiles_along(g.h) * tiles_along(g.w); }

void swan_grid_tile_order(swan_grid g, int32_t *order, int32_t *start)
{
    int64_t row = 0, tile = 0;
    for (int64_t a = 0; a < tiles_along(g.t); a++)
        for (int64_t b = 0; b < tiles_along(g.h); b++)
            for (int64_t c = 0; c < tiles_along(g.w); c++) {
                start[tile++] = (int32_t)row;
                for (int64_t t = a * SWAN_TILE; t < end_of(a, g.t); t++)
                    for (int64_t h = b * SWAN_TILE; h < end_of(b, g.h); h++)
                        for (int64_t w = c * SWAN_TILE; w < end_of(c, g.w); w++)
                            order[row++] = (int32_t)((t * g.h + h) * g.w + w);
            }
    start[tile] = (int32_t)row;
}

int64_t swan_grid_topk(int64_t tiles, double sparsity)
{
    /* the reference computes (1 - sparsity) * tiles in double: 0.2 * 625 must stay 125 */
    int64_t k = (int64_t)ceil((1.0 - sparsity) * (double)tiles);
    return k < 1 ? 1 : k > tiles ? tiles : k;
}
