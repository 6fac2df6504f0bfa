/* Prompt cleaning: what the Diffusers pipeline does to a prompt before it is tokenised. */
#ifndef SWAN_TOK_CLEAN_H
#define SWAN_TOK_CLEAN_H

#include "base/status.h"

/* A longer prompt is refused: 512 tokens are used at most, and nested entities cost a pass over the text each. */
#define SWAN_PROMPT_MAX_BYTES 32768u

/* Cleans n bytes of UTF-8 as WanPipeline's prompt_clean does: ftfy.fix_text without its mojibake repair, html.unescape
 * twice, runs of white space to one space, none at the ends. *out is NUL-terminated and malloc'd, freed by the caller.
 * SWAN_E_INVALID for invalid UTF-8 (overlong forms, surrogates, above U+10FFFF), NUL, or too long a prompt; the message
 * names the byte offset. docs/prompt.md lists the steps. */
swan_status swan_prompt_clean(const char *utf8, size_t n, char **out);

#endif
