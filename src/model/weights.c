#include "model/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"

#define NAME_MAX_BYTES 160

/* ---- weights that are away ---- */

int swan_weights_away_before(int layer, int away, int layers) { return (int)((int64_t)layer * away / layers); }

bool swan_weights_is_away(int layer, int away, int layers)
{
    return swan_weights_away_before(layer + 1, away, layers) > swan_weights_away_before(layer, away, layers);
}

void swan_weights_send(swan_weight_loader *loader, int part, int layer, int layers)
{
    loader->to_host = loader->away && swan_weights_is_away(layer, loader->away[part], layers);
}

void swan_weights_shift(swan_tensor *t, ptrdiff_t shift)
{
    /* not pointer arithmetic: the two places are of different memory */
    if (t->data) t->data = (void *)((uintptr_t)t->data + (uintptr_t)shift);
}

swan_weight_span swan_weights_span(const swan_tensor *first, const swan_tensor *last)
{
    uintptr_t end = (uintptr_t)last->data + swan_tensor_bytes(last);
    return (swan_weight_span){first->data, (size_t)(end - (uintptr_t)first->data)};
}

/* ---- binding ---- */

static const char *spell(const char *pattern, int layer, char *buf)
{
    const char *mark = strstr(pattern, "%d");
    if (!mark) return pattern;
    snprintf(buf, NAME_MAX_BYTES, "%.*s%d%s", (int)(mark - pattern), pattern, layer, mark + 2);
    return buf;
}

static const swan_tensor *find(const swan_ckpt *ckpt, const swan_weight_spec *spec, int layer)
{
    char buf[NAME_MAX_BYTES];
    for (int i = 0; i < SWAN_WEIGHT_SPELLINGS; i++) {
        const swan_tensor *t = spec->name[i] ? swan_ckpt_find(ckpt, spell(spec->name[i], layer, buf)) : NULL;
        if (t) return t;
    }
    return NULL;
}

bool swan_weights_has(const swan_ckpt *ckpt, const swan_weight_spec *spec, int layer) { return find(ckpt, spec, layer) != NULL; }

/* A wanted tensor that find did not see: it is absent, or present in a type that no view can hold. */
static swan_status missing(const swan_ckpt *ckpt, const swan_weight_spec *spec, int layer)
{
    char buf[NAME_MAX_BYTES];
    for (int i = 0; i < SWAN_WEIGHT_SPELLINGS; i++) {
        const char *name = spec->name[i] ? spell(spec->name[i], layer, buf) : NULL, *why, *other;
        for (size_t k = 0; name && (other = swan_ckpt_unsupported_at(ckpt, k, &why)) != NULL; k++)
            if (!strcmp(name, other))
                return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: tensor %s cannot be read: %s", swan_ckpt_path(ckpt), name, why);
    }
    return SWAN_FAIL(SWAN_E_NOT_FOUND, "%s: tensor %s is missing", swan_ckpt_path(ckpt), spell(spec->name[0], layer, buf));
}

static bool is_float(swan_dtype dtype)
{
    return dtype == SWAN_F32 || dtype == SWAN_F16 || dtype == SWAN_BF16 || dtype == SWAN_F64;
}

/* The wanted shape against the stored one; *first_row is where the view begins (LAST_ROWS). */
static swan_status check_shape(const swan_ckpt *ckpt, const swan_tensor *stored, const swan_weight_spec *spec,
                               const int64_t *values, swan_tensor *want, int64_t *first_row)
{
    *want = (swan_tensor){.dtype = stored->dtype, .ndim = spec->ndim, .name = stored->name};
    for (int i = 0; i < spec->ndim; i++) want->ne[i] = spec->extent[i] < 0 ? -spec->extent[i] : values[spec->extent[i]];
    *first_row = 0;
    swan_tensor rest = *stored;
    if ((spec->flags & SWAN_WEIGHT_LAST_ROWS) && stored->ndim == want->ndim && stored->ne[0] > want->ne[0]) {
        *first_row = stored->ne[0] - want->ne[0];
        rest.ne[0] = want->ne[0];
    }
    char ws[96], ss[96];
    if (!swan_tensor_same_shape(&rest, want))
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: tensor %s: wanted shape %s, found %s", swan_ckpt_file(ckpt, stored), stored->name,
                         swan_tensor_shape(want, ws, sizeof ws), swan_tensor_shape(stored, ss, sizeof ss));
    if (!is_float(stored->dtype))
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: tensor %s: wanted F32, F16, BF16 or F64, found %s", swan_ckpt_file(ckpt, stored),
                         stored->name, swan_dtype_name(stored->dtype));
    return SWAN_OK;
}

/* dst from src, both f32, with the axes in the role's order. */
static void reorder(float *dst, const float *src, const swan_tensor *shape, swan_weight_role role)
{
    if (role == SWAN_WEIGHT_TRANSPOSED) {
        for (int64_t a = 0; a < shape->ne[0]; a++)
            for (int64_t b = 0; b < shape->ne[1]; b++) dst[b * shape->ne[0] + a] = src[a * shape->ne[1] + b];
        return;
    }
    int64_t cin = shape->ne[1], taps = shape->ne[2] * shape->ne[3];
    for (int64_t o = 0; o < shape->ne[0]; o++)
        for (int64_t c = 0; c < cin; c++)
            for (int64_t k = 0; k < taps; k++) dst[(o * taps + k) * cin + c] = src[(o * cin + c) * taps + k];
}

static swan_status place(const swan_weight_loader *loader, void *to, const void *from, size_t bytes)
{
    if (loader->device && !loader->to_host) return swan_device_copy_now(loader->device, loader->stream, to, from, bytes);
    memcpy(to, from, bytes);
    return SWAN_OK;
}

/* Elements that are converted at a time: bounds the scratch, whatever the tensor. */
#define CHUNK ((int64_t)1 << 22)

/* A matrix of another type as bf16, chunk by chunk. */
static swan_status copy_as_bf16(const swan_weight_loader *loader, const swan_tensor *stored, uint16_t *to)
{
    int64_t n = swan_tensor_count(stored), most = n < CHUNK ? n : CHUNK;
    float *wide = malloc((size_t)most * sizeof *wide);
    uint16_t *narrow = malloc((size_t)most * sizeof *narrow);
    swan_status status = wide && narrow ? SWAN_OK : SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", stored->name);
    for (int64_t at = 0; at < n && !status; at += most) {
        int64_t count = n - at < most ? n - at : most;
        swan_tensor part = swan_tensor_1d((uint8_t *)stored->data + (size_t)at * swan_dtype_bytes(stored->dtype), stored->dtype, count);
        status = swan_ckpt_read_f32(&part, wide);
        for (int64_t i = 0; i < count; i++) narrow[i] = swan_f32_to_bf16(wide[i]);
        if (!status) status = place(loader, to + at, narrow, (size_t)count * sizeof *narrow);
    }
    free(wide);
    free(narrow);
    return status;
}

/* A vector, table or convolution as f32 in the role's order. */
static swan_status copy_as_f32(const swan_weight_loader *loader, const swan_tensor *stored, swan_weight_role role, float *to)
{
    int64_t n = swan_tensor_count(stored);
    bool moves = role == SWAN_WEIGHT_TRANSPOSED || role == SWAN_WEIGHT_CONV;
    float *plain = malloc((size_t)n * sizeof *plain), *moved = moves ? malloc((size_t)n * sizeof *moved) : NULL;
    swan_status status = plain && (moved || !moves) ? SWAN_OK : SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", stored->name);
    if (!status) status = swan_ckpt_read_f32(stored, plain);
    for (int64_t i = 0; i < n && loader->round_bf16 && !status; i++) plain[i] = swan_bf16_to_f32(swan_f32_to_bf16(plain[i]));
    if (!status && moves) reorder(moved, plain, stored, role);
    if (!status) status = place(loader, to, moves ? moved : plain, (size_t)n * sizeof *plain);
    free(plain);
    free(moved);
    return status;
}

/* A copy in one of the arenas. stored is already cut to the wanted rows. */
static swan_status copy(swan_weight_loader *loader, const swan_tensor *stored, swan_weight_role role, swan_tensor *out)
{
    swan_arena *arena = loader->to_host ? loader->host_arena : loader->arena;
    bool matrix = role == SWAN_WEIGHT_MATRIX, narrow = matrix && loader->bf16_matrices && stored->dtype != SWAN_BF16;
    bool as_is = matrix && !narrow && stored->dtype != SWAN_F64;
    out->dtype = as_is ? stored->dtype : narrow ? SWAN_BF16 : SWAN_F32;
    size_t bytes = (size_t)swan_tensor_count(stored) * swan_dtype_bytes(out->dtype);
    if (!(out->data = swan_arena_alloc(arena, bytes))) return SWAN_E_BUG;
    if (!arena->base) return SWAN_OK;
    if (as_is) return place(loader, out->data, stored->data, bytes);
    return narrow ? copy_as_bf16(loader, stored, out->data) : copy_as_f32(loader, stored, role, out->data);
}

/* May the kernels read this matrix where it is mapped? */
static bool stays_mapped(const swan_weight_loader *loader, const swan_tensor *stored)
{
    return !loader->device && stored->dtype != SWAN_F64 && (!loader->bf16_matrices || stored->dtype == SWAN_BF16);
}

static void final_shape(const swan_tensor *want, swan_weight_role role, swan_tensor *out)
{
    swan_dtype dtype = out->dtype;
    void *data = out->data;
    *out = *want;
    out->dtype = dtype;
    out->data = data;
    if (role == SWAN_WEIGHT_MATRIX) {
        out->ndim = 2;
        out->ne[1] = swan_tensor_count(want) / want->ne[0];
    } else if (role == SWAN_WEIGHT_TRANSPOSED) {
        out->ne[0] = want->ne[1];
        out->ne[1] = want->ne[0];
    } else if (role == SWAN_WEIGHT_CONV) {
        out->ne[1] = want->ne[2];
        out->ne[2] = want->ne[3];
        out->ne[3] = want->ne[1];
    }
}

static swan_status bind_one(swan_weight_loader *loader, const swan_weight_spec *spec, int layer, swan_tensor *out)
{
    *out = (swan_tensor){0};
    const swan_tensor *stored = find(loader->ckpt, spec, layer);
    if (!stored) return spec->flags & SWAN_WEIGHT_OPTIONAL ? SWAN_OK : missing(loader->ckpt, spec, layer);
    swan_tensor want;
    int64_t first_row;
    SWAN_TRY(check_shape(loader->ckpt, stored, spec, loader->values, &want, &first_row));
    swan_tensor source = want;
    int64_t row_bytes = (int64_t)swan_tensor_bytes(stored) / stored->ne[0];
    source.data = (uint8_t *)stored->data + first_row * row_bytes;
    if (spec->role == SWAN_WEIGHT_MATRIX && stays_mapped(loader, stored)) {
        out->data = source.data;
        out->dtype = stored->dtype;
        loader->mapped_bytes += swan_tensor_bytes(&source);
    } else {
        SWAN_TRY(copy(loader, &source, spec->role, out));
        loader->source_bytes += swan_tensor_bytes(&source);
    }
    final_shape(&want, spec->role, out);
    loader->parameters += swan_tensor_count(&want);
    for (size_t i = 0; loader->used && swan_ckpt_at(loader->ckpt, i); i++)
        if (swan_ckpt_at(loader->ckpt, i) == stored) loader->used[i] = 1;
    return SWAN_OK;
}

swan_status swan_weights_bind(swan_weight_loader *loader, const swan_weight_spec *specs, size_t count, int layer, void *base)
{
    for (size_t i = 0; i < count; i++)
        SWAN_TRY(bind_one(loader, &specs[i], layer, (swan_tensor *)(void *)((uint8_t *)base + specs[i].offset)));
    return SWAN_OK;
}

swan_status swan_weights_all_used(const swan_weight_loader *loader, const char *const *ignored, const char *what)
{
    for (size_t i = 0; i < swan_ckpt_count(loader->ckpt); i++) {
        const swan_tensor *t = swan_ckpt_at(loader->ckpt, i);
        bool skip = loader->used[i];
        for (const char *const *p = ignored; !skip && p && *p; p++) skip = !strncmp(t->name, *p, strlen(*p));
        if (!skip)
            return SWAN_FAIL(SWAN_E_FORMAT, "%s: unexpected tensor %s: this is not a checkpoint of %s", swan_ckpt_file(loader->ckpt, t),
                             t->name, what);
    }
    return SWAN_OK;
}
