/* Bump allocator with marks. One arena, one block: reserved once, then nothing allocates.
 * A DRY arena has no memory: it hands out distinct non-NULL addresses that must never be read, and records the peak, so that
 * the code that will run also computes how much it needs. Blocks are 64-byte aligned (a cache line, an AVX-512 register).
 * Debug builds (SWAN_DEBUG_ARENA) put red zones between blocks and poison what a release gives back; the zones are counted
 * in DRY as well, so that the peak stays equal. */
#ifndef SWAN_BASE_ARENA_H
#define SWAN_BASE_ARENA_H

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SWAN_ARENA_ALIGN ((size_t)64)

typedef struct swan_arena {
    const char *name;
    uint8_t *base; /* NULL: dry */
    size_t size;   /* bytes reserved; SIZE_MAX when dry */
    size_t used, peak;
    bool owned;    /* base came from swan_arena_reserve */
    bool remote;   /* memory of a device: addresses are handed out, never followed */
} swan_arena;

/* An arena without memory that only counts. */
void swan_arena_dry(swan_arena *a, const char *name);
/* Reserves size bytes (0 is allowed) from the host. Fails with SWAN_E_NOMEM naming the arena and the size. */
swan_status swan_arena_reserve(swan_arena *a, const char *name, size_t size);
/* Over memory that somebody else owns; remote: on a device, where the host cannot follow an address. */
void swan_arena_over(swan_arena *a, const char *name, void *base, size_t size, bool remote);
void swan_arena_free(swan_arena *a);

/* bytes from the arena; NULL with the thread's message set when the reservation is too small (a planning bug of ours). */
void *swan_arena_alloc(swan_arena *a, size_t bytes);
/* Everything allocated after mark() is given back by release(). Marks nest. */
size_t swan_arena_mark(const swan_arena *a);
void swan_arena_release(swan_arena *a, size_t mark);

#ifdef __cplusplus
}
#endif
#endif
