/* Weight tables: one row a tensor says its names, where it goes, its shape and its role. The same table loads, checks, counts
 * and prints; nothing else in a model knows a file name.
 *
 * Names are given in up to three spellings: Diffusers (also Hugging Face), original (Wan-Video, google) and FastVideo; "%d" is
 * the layer. The first spelling that the checkpoint has is taken, tensor by tensor. */
#ifndef SWAN_MODEL_WEIGHTS_H
#define SWAN_MODEL_WEIGHTS_H

#include "base/arena.h"
#include "ckpt/safetensors.h"
#include "kernel/device.h"
#include "tensor/tensor.h"

typedef enum swan_weight_role {
    SWAN_WEIGHT_MATRIX,     /* [N, K…] seen as [N, K]: on the host the mapped file itself, on a GPU a copy */
    SWAN_WEIGHT_VECTOR,     /* copied to f32 */
    SWAN_WEIGHT_TRANSPOSED, /* [A, B] copied to f32 [B, A] */
    SWAN_WEIGHT_CONV        /* [Cout, Cin, 3, 3] copied to f32 [Cout, 3, 3, Cin] (channels last) */
} swan_weight_role;

#define SWAN_WEIGHT_OPTIONAL 1u  /* absent: the view stays empty (data NULL) */
#define SWAN_WEIGHT_LAST_ROWS 2u /* the file may hold more rows on axis 0: the last ones are taken */

#define SWAN_WEIGHT_SPELLINGS 3

/* Extents in the row are symbols: an index into the model's list of values, or a plain number when negative (-3 is 3). */
typedef struct swan_weight_spec {
    const char *name[SWAN_WEIGHT_SPELLINGS];
    size_t offset; /* of the swan_tensor in the struct that is filled */
    swan_weight_role role;
    unsigned flags;
    int ndim;
    int extent[SWAN_MAX_DIMS];
} swan_weight_spec;

/* Everything a bind shares. Dry arena: views get their types and shapes, and the arena counts, nothing is read. */
typedef struct swan_weight_loader {
    const swan_ckpt *ckpt;
    const swan_device *device; /* NULL: the host */
    const swan_stream *stream; /* of the device */
    bool bf16_matrices;     /* matrices of another type are copied as their nearest bf16 */
    swan_arena *arena;      /* for copies, on the device */
    swan_arena *host_arena; /* for copies that are away */
    const int *away;        /* of each part that the model can do without on the device, how many layers are; NULL: none */
    bool to_host;           /* set by swan_weights_send: what is bound next is away */
    const int64_t *values;  /* of the symbols */
    bool round_bf16;        /* parity runs: vectors too are rounded to bf16, kept as f32 */
    uint8_t *used;          /* [swan_ckpt_count], set where a tensor was taken; may be NULL */
    uint64_t mapped_bytes;  /* out: bytes that stay in the mapped file */
    uint64_t source_bytes;  /* out: bytes of the mapped file that copies are made from */
    int64_t parameters;     /* out: elements */
} swan_weight_loader;

/* Weights that are away lie in host memory that the device can reach, and pass through it when their layer is at work. Of `layers`
 * layers `away` are, spread evenly: there is work between two of them while the next one is copied. How many of the first `layer` are. */
int swan_weights_away_before(int layer, int away, int layers);
/* Is this one? */
bool swan_weights_is_away(int layer, int away, int layers);
/* Where the tensors of one layer go that are bound next: by loader->away[part]. */
void swan_weights_send(swan_weight_loader *loader, int part, int layer, int layers);
/* Called before the kernels of each layer are enqueued, from 0 on: its weights will be *shift bytes from where they were bound. */
typedef struct swan_weight_fetch {
    swan_status (*take)(void *user, int layer, ptrdiff_t *shift);
    void *user;
} swan_weight_fetch;
/* The same tensor, so many bytes from there; an empty view stays empty. */
void swan_weights_shift(swan_tensor *t, ptrdiff_t shift);
/* Weights of a layer that lie behind each other. */
typedef struct swan_weight_span {
    const void *first;
    size_t bytes;
} swan_weight_span;
/* From the first to the last tensor that a table places. */
swan_weight_span swan_weights_span(const swan_tensor *first, const swan_tensor *last);

/* Fills the views of base from count rows for one layer (-1: names without %d). Errors name file, tensor, wanted and found. */
swan_status swan_weights_bind(swan_weight_loader *loader, const swan_weight_spec *specs, size_t count, int layer, void *base);
/* Does the checkpoint hold this row's tensor, in any spelling? */
bool swan_weights_has(const swan_ckpt *ckpt, const swan_weight_spec *spec, int layer);
/* Fails naming the first tensor that no row took and that does not begin with one of the ignored prefixes (NULL-ended). */
swan_status swan_weights_all_used(const swan_weight_loader *loader, const char *const *ignored, const char *what);

#endif
