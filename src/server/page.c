/* GET / and GET /openapi.json. The page's one style and one script are let through the Content-Security-Policy by a nonce that is
 * drawn for each answer; nothing else inline runs, and nothing is loaded from elsewhere. */
#include "server/page.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/httpd.h"

enum { NONCE_BYTES = 16, TAGS_MAX = 8 };

static bool draw_nonce(char *hex)
{
    uint8_t bytes[NONCE_BYTES];
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && read(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes;
    if (fd >= 0) close(fd);
    for (int i = 0; ok && i < NONCE_BYTES; i++) sprintf(hex + 2 * i, "%02x", bytes[i]);
    return ok;
}

/* The page with nonce="..." in every <style> and <script> of it. */
static char *with_nonce(const char *page, size_t bytes, const char *nonce)
{
    static const char *const tags[] = {"<style>", "<script>"};
    char *out = malloc(bytes + 1 + TAGS_MAX * (2 * NONCE_BYTES + 16)), *to = out;
    int left = TAGS_MAX;
    for (const char *at = page; out && *at;) {
        const char *tag = NULL;
        for (int i = 0; i < 2 && left; i++)
            if (*at == '<' && !strncmp(at, tags[i], strlen(tags[i]))) tag = tags[i];
        if (!tag) {
            *to++ = *at++;
            continue;
        }
        size_t n = strlen(tag);
        to += sprintf(to, "%.*s nonce=\"%s\">", (int)n - 1, tag, nonce);
        at += n;
        left--;
    }
    if (out) *to = 0;
    return out;
}

swan_reply swan_page_answer(swan_request *r)
{
    char nonce[2 * NONCE_BYTES + 1];
    swan_api_error e;
    (void)r;
    if (!swan_embedded_page_bytes) {
        swan_api_fail(&e, 404, "not_found", NULL, "this build has no page");
        return swan_reply_error(&e);
    }
    char *text = draw_nonce(nonce) ? with_nonce(swan_embedded_page, swan_embedded_page_bytes, nonce) : NULL;
    swan_reply reply = text ? swan_reply_text(200, "text/html; charset=utf-8", text) : (swan_reply){0};
    free(text);
    swan_reply_header(&reply, "Content-Security-Policy",
                      "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; img-src 'self' data: blob:; media-src 'self' blob:; "
                      "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", nonce, nonce);
    swan_reply_header(&reply, "Cross-Origin-Opener-Policy", "same-origin");
    return reply;
}

swan_reply swan_openapi_answer(swan_request *r)
{
    (void)r;
    return swan_reply_text(200, "application/json", swan_embedded_openapi);
}
