/* Foreign text in our messages: cut, and with nothing in it that a terminal would obey. */
#ifndef SWAN_CKPT_SAY_H
#define SWAN_CKPT_SAY_H

#include <stddef.h>

#define SWAN_SAY_MAX 120
typedef struct swan_said {
    char text[SWAN_SAY_MAX];
} swan_said;

/* Use as swan_say(name).text inside the argument list of a message. */
static inline swan_said swan_say(const char *s)
{
    swan_said said = {{0}};
    size_t i = 0;
    for (; s[i] && i + 1 < sizeof said.text; i++) {
        unsigned char c = (unsigned char)s[i];
        said.text[i] = c < 0x20 || c == 0x7F ? '?' : s[i];
    }
    if (s[i])
        for (size_t dot = sizeof said.text - 4; dot + 1 < sizeof said.text; dot++) said.text[dot] = '.';
    return said;
}

#endif
