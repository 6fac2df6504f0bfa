/* Files that the build puts into the program (tools/embed.cmake). The page is not there when the sources have none. */
#ifndef SWAN_SERVER_PAGE_H
#define SWAN_SERVER_PAGE_H

#include <stddef.h>

/* Zero-terminated. */
extern const char swan_embedded_page[], swan_embedded_openapi[];
extern const size_t swan_embedded_page_bytes, swan_embedded_openapi_bytes;

#endif
