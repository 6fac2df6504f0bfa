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

/* ---- the document: the built-in one with this server's limits and names ---- */

static void set_bound(json_t *schemas, const char *schema, const char *field, const char *bound, int64_t value)
{
    json_t *f = json_object_get(json_object_get(json_object_get(json_object_get(schemas, schema), "properties"), field), "anyOf");
    json_t *to = f ? json_array_get(f, 0) : json_object_get(json_object_get(json_object_get(schemas, schema), "properties"), field);
    json_object_set_new(to, bound, json_integer((json_int_t)value));
}

static void set_names(json_t *schemas, const char *schema, const swan_api_model *m, bool null)
{
    json_t *names = json_array();
    json_array_append_new(names, json_string(m->name));
    for (const char *at = m->aliases; at && *at;) {
        at += strspn(at, " ,");
        size_t n = strcspn(at, ",");
        if (n) json_array_append_new(names, json_stringn(at, n));
        at += n;
    }
    if (null) json_array_append_new(names, json_null());
    json_object_set_new(json_object_get(json_object_get(json_object_get(schemas, schema), "properties"), "model"), "enum", names);
}

swan_reply swan_openapi_answer(swan_request *r)
{
    static const char *const requests[] = {"Create", "CreateForm", "Remix"};
    const swan_api_limits *l = &r->http->config->limits;
    swan_workers_state s;
    swan_api_model model;
    json_t *document = json_loads(swan_embedded_openapi, 0, NULL);
    json_t *schemas = json_object_get(json_object_get(document, "components"), "schemas");
    for (int i = 0; i < 3; i++) set_bound(schemas, requests[i], "prompt", "maxLength", l->prompt_max);
    for (int i = 0; i < 2; i++) set_bound(schemas, requests[i], "negative_prompt", "maxLength", l->prompt_max);
    set_bound(schemas, "Create", "num_inference_steps", "maximum", l->steps_max);
    swan_workers_look(r->http->workers, &s, &model);
    for (int i = 0; s.known && i < 2; i++) set_names(schemas, requests[i], &model, i == 0);
    return swan_reply_json(200, document);
}
