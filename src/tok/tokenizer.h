/* Text to token ids: SentencePiece behind a C interface. */
#ifndef SWAN_TOK_TOKENIZER_H
#define SWAN_TOK_TOKENIZER_H

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Immutable after opening and setting; encoding may run in several threads at once. */
typedef struct swan_tokenizer swan_tokenizer;

/* Reads and checks a spiece.model (see spiece_check.h) and loads it. On success *out is owned by the caller. A file
 * with UMT5's 256,000 pieces gets UMT5's 300 extra ids, any other none. SWAN_E_NOT_FOUND, SWAN_E_IO, SWAN_E_FORMAT,
 * SWAN_E_UNSUPPORTED, SWAN_E_NOMEM. */
swan_status swan_tokenizer_open(const char *spiece_model_path, swan_tokenizer **out);
/* The same from memory: size bytes of a model file, called name in messages; not needed after the call. */
swan_status swan_tokenizer_load(const void *data, size_t size, const char *name, swan_tokenizer **out);
/* NULL is fine. */
void swan_tokenizer_close(swan_tokenizer *tokenizer);

/* T5's sentinels <extra_id_0> .. <extra_id_{count-1}>, which lie above the pieces in falling order: <extra_id_0> is the
 * highest id. At most 1000. The embedding table must have swan_tokenizer_vocab rows afterwards. */
swan_status swan_tokenizer_set_extra_ids(swan_tokenizer *tokenizer, int count);

/* Every id is below this: pieces and extra ids. */
int swan_tokenizer_vocab(const swan_tokenizer *tokenizer);
/* The id that ends every sequence, </s>. */
int swan_tokenizer_eos(const swan_tokenizer *tokenizer);

/* Writes the ids of NUL-terminated UTF-8 to ids i32 [max_ids] and their number to *count (1 .. max_ids): no start
 * token, the end token last, what exceeds max_ids - 1 cut off before it. The model's control and unknown pieces
 * ("</s>", "<pad>",
 * "<unk>") and the extra ids are recognised in the text before segmentation, as the published tokenizers do; the text
 * between them is encoded each part for itself. SWAN_E_INVALID: invalid UTF-8 or max_ids < 1. */
swan_status swan_tokenizer_encode(const swan_tokenizer *tokenizer, const char *clean_utf8, int32_t *ids, int max_ids,
                                  int *count);

#ifdef __cplusplus
}
#endif
#endif
