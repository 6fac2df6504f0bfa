/* Models without files: the sizes of published networks, made-up weights (ckpt/random.h) and a tokenizer that only counts words.
 * What they draw is noise; what they cost is what the real ones cost. `--weights random` opens them. */
#ifndef SWAN_PIPE_SYNTHETIC_H
#define SWAN_PIPE_SYNTHETIC_H

#include "pipe/engine.h"

/* Opens the three checkpoints of the configuration that e->params->model names, and sets names, sizes and recipe. What is not
 * opened yet is left NULL on failure. SWAN_E_NOT_FOUND lists the names there are. */
swan_status swan_synthetic_open(swan_engine *e);
/* One id a word, and the end: ids i32 [max_ids] in [2, vocab), 1 at the end. Words are what spaces part. */
void swan_synthetic_tokenize(int64_t vocab, const char *text, int32_t *ids, int max_ids, int *count);

#endif
