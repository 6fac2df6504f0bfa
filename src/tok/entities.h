/* HTML character references: the tables behind swan_prompt_clean. */
#ifndef SWAN_TOK_ENTITIES_H
#define SWAN_TOK_ENTITIES_H

#include <stddef.h>
#include <stdint.h>

/* name: what follows '&', with its ';' when it has one. to: 1 to 3 code points, 0 behind the last. */
typedef struct swan_entity {
    const char *name;
    uint32_t to[3];
} swan_entity;

#define SWAN_ENTITY_NAME_MAX 32

/* Sorted by name as bytes. The names of the HTML standard; the legacy ones also stand there without ';'. */
extern const swan_entity swan_entities[];
extern const size_t swan_entities_count;
/* All-capitals spellings that HTML does not know ("EACUTE;"), all with ';'. */
extern const swan_entity swan_entities_upper[];
extern const size_t swan_entities_upper_count;

#endif
