/* Token grids and 4x4x4 tiles. Host integers only. Source: Video Sparse Attention (arXiv 2505.13389), FastVideo's layout.
 *
 * The network runs in tile order: tiles in (t, h, w) raster order, tokens in raster order inside a tile. Border tiles are
 * clipped, and no padding rows exist: tile i owns rows start[i] .. start[i + 1] - 1. */
#ifndef SWAN_ATTN_TILES_H
#define SWAN_ATTN_TILES_H

#include <stdint.h>

#define SWAN_TILE 4

typedef struct swan_grid {
    int64_t t, h, w; /* tokens along each axis */
} swan_grid;

int64_t swan_grid_tokens(swan_grid g);
int64_t swan_grid_tiles(swan_grid g);
/* order [tokens]: row l of tile order is raster token order[l]. start [tiles + 1]. */
void swan_grid_tile_order(swan_grid g, int32_t *order, int32_t *start);
/* Tiles that each query tile attends to: clamp(ceil((1 - sparsity) * tiles), 1, tiles). */
int64_t swan_grid_topk(int64_t tiles, double sparsity);

#endif
