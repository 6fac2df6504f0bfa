/* Checkpoints in the safetensors format: name -> tensor view over one file or a sharded set, mapped read-only.
 * Format: 8 bytes N (little endian), N bytes of JSON {name: {dtype, shape, data_offsets: [begin, end)}, "__metadata__": {…}},
 * then the data, which the tensors must cover without holes and without overlap.
 *
 * Everything is checked before open returns; a view that is handed out lies wholly inside its mapping. A file that somebody
 * shortens while it is mapped cannot be guarded against (the process gets SIGBUS). */
#ifndef SWAN_CKPT_SAFETENSORS_H
#define SWAN_CKPT_SAFETENSORS_H

#include "base/status.h"
#include "tensor/tensor.h"

typedef struct swan_ckpt swan_ckpt;

/* path: a .safetensors file, a .safetensors.index.json, or a directory with `<stem>.safetensors`, with
 * `<stem>.safetensors.index.json`, or with one complete set of `<stem>-0000i-of-0000n.safetensors`. stem NULL: any one of these;
 * two candidates are an error that names them.
 * Errors: SWAN_E_NOT_FOUND (no such file, or the directory holds none), SWAN_E_IO, SWAN_E_FORMAT (damaged, hostile or of another
 * kind), SWAN_E_INVALID (ambiguous), SWAN_E_NOMEM. *out is NULL then. Owned by the caller. */
swan_status swan_ckpt_open(const char *path, const char *stem, swan_ckpt **out);
/* Ends every view. NULL is fine. */
void swan_ckpt_close(swan_ckpt *c);

/* The tensors, in the order of the shards' names and of their data. Views borrow from c and are read-only; names are set; data
 * is aligned to its element (a tensor that is not so in its file is copied at open). */
size_t swan_ckpt_count(const swan_ckpt *c);
const swan_tensor *swan_ckpt_at(const swan_ckpt *c, size_t i); /* NULL past the end */
const swan_tensor *swan_ckpt_find(const swan_ckpt *c, const char *name); /* NULL when absent or unsupported */
/* find, but absence is SWAN_E_NOT_FOUND and a type we do not hold SWAN_E_UNSUPPORTED, each with file and tensor named. */
swan_status swan_ckpt_need(const swan_ckpt *c, const char *name, const swan_tensor **out);

/* Tensors that are in the file but that no view can describe (F8_E4M3, BOOL, six axes, …) are not among the above.
 * Gives the i-th one's name and why ("dtype F8_E4M3"); NULL past the end. why may be NULL. */
const char *swan_ckpt_unsupported_at(const swan_ckpt *c, size_t i, const char **why);

/* For messages: what was opened, and the file that holds t (or a copy of the view t). */
const char *swan_ckpt_path(const swan_ckpt *c);
const char *swan_ckpt_file(const swan_ckpt *c, const swan_tensor *t);
/* Bytes of all mapped files, and of the copies made for alignment. */
uint64_t swan_ckpt_mapped_bytes(const swan_ckpt *c);
uint64_t swan_ckpt_copied_bytes(const swan_ckpt *c);
/* A value of "__metadata__" of the first shard that has the key; NULL when none does. Borrowed. */
const char *swan_ckpt_metadata(const swan_ckpt *c, const char *key);

/* The elements of an F32, F16, BF16 or F64 tensor as fp32 [count]. Exact but for F64 (nearest even). Other types:
 * SWAN_E_UNSUPPORTED. */
swan_status swan_ckpt_read_f32(const swan_tensor *t, float *dst);

#endif
