/* glibc has arc4random from 2.36 on, and the static libstdc++ of a system that new asks for it (std::random_device,
 * which SentencePiece can use for sampling; Swan does not sample). Defined here, the portable program starts on glibc
 * 2.35 as well. */
#define _DEFAULT_SOURCE
#include <stdint.h>
#include <unistd.h>

uint32_t arc4random(void);

uint32_t arc4random(void)
{
    uint32_t value;
    while (getentropy(&value, sizeof value) != 0) continue; /* fails only while the system's generator is starting */
    return value;
}
