#include "base/arena.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#ifdef SWAN_DEBUG_ARENA
#define RED_ZONE SWAN_ARENA_ALIGN
#else
#define RED_ZONE ((size_t)0)
#endif
#define RED_BYTE 0xA5
#define DEAD_BYTE 0xDD

void swan_arena_dry(swan_arena *a, const char *name) { *a = (swan_arena){.name = name, .size = SIZE_MAX}; }

swan_status swan_arena_reserve(swan_arena *a, const char *name, size_t size)
{
    *a = (swan_arena){.name = name};
    size_t rounded = size ? size : SWAN_ARENA_ALIGN;
    if (rounded > SIZE_MAX - SWAN_ARENA_ALIGN) return SWAN_FAIL(SWAN_E_NOMEM, "%s: %zu bytes cannot be reserved", name, size);
    rounded = (rounded + SWAN_ARENA_ALIGN - 1) & ~(SWAN_ARENA_ALIGN - 1);
    void *base = aligned_alloc(SWAN_ARENA_ALIGN, rounded);
    if (!base) return SWAN_FAIL(SWAN_E_NOMEM, "%s: could not reserve %.1f MiB", name, (double)size / 1048576.0);
    *a = (swan_arena){.name = name, .base = base, .size = rounded, .owned = true};
    return SWAN_OK;
}

void swan_arena_over(swan_arena *a, const char *name, void *base, size_t size, bool remote)
{
    *a = (swan_arena){.name = name, .base = base, .size = size, .remote = remote};
}

void swan_arena_free(swan_arena *a)
{
    if (a->owned) free(a->base);
    *a = (swan_arena){0};
}

void *swan_arena_alloc(swan_arena *a, size_t bytes)
{
    size_t need = ((bytes + SWAN_ARENA_ALIGN - 1) & ~(SWAN_ARENA_ALIGN - 1)) + RED_ZONE;
    if (need < bytes || need > a->size - a->used) {
        SWAN_BUG("%s: %zu bytes wanted, %zu of %zu in use", a->name, bytes, a->used, a->size);
        return NULL;
    }
    size_t at = a->used;
    a->used += need;
    if (a->used > a->peak) a->peak = a->used;
    if (!a->base) return (void *)(uintptr_t)(SWAN_ARENA_ALIGN + at);
#ifdef SWAN_DEBUG_ARENA
    if (!a->remote) memset(a->base + at + need - RED_ZONE, RED_BYTE, RED_ZONE);
#endif
    return a->base + at;
}

size_t swan_arena_mark(const swan_arena *a) { return a->used; }

void swan_arena_release(swan_arena *a, size_t mark)
{
    assert(mark <= a->used);
#ifdef SWAN_DEBUG_ARENA
    if (a->base && !a->remote) memset(a->base + mark, DEAD_BYTE, a->used - mark);
#endif
    a->used = mark;
}
