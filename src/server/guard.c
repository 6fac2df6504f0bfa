#include "server/guard.h"

#include <string.h>
#include <strings.h>

swan_status swan_guard_add_keys(swan_guard *g, const char *text, const char *source)
{
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, ",\r\n"), lead = strspn(at, " \t");
        const char *key = at + lead;
        size_t length = n > lead ? n - lead : 0;
        while (length && (key[length - 1] == ' ' || key[length - 1] == '\t')) length--;
        at += n + (at[n] != 0);
        if (!length || *key == '#') continue;
        if (length >= SWAN_GUARD_KEY_MAX) return SWAN_FAIL(SWAN_E_INVALID, "%s: a key of %zu bytes, more than %d", source, length, SWAN_GUARD_KEY_MAX - 1);
        if (g->key_count == SWAN_GUARD_KEYS_MAX) return SWAN_FAIL(SWAN_E_INVALID, "%s: more than %d keys", source, SWAN_GUARD_KEYS_MAX);
        char *to = g->key[g->key_count++];
        memset(to, 0, SWAN_GUARD_KEY_MAX);
        memcpy(to, key, length);
    }
    return SWAN_OK;
}

/* Every byte of every key is looked at, whatever was found before. */
static bool key_listed(const swan_guard *g, const char padded[SWAN_GUARD_KEY_MAX])
{
    volatile unsigned found = 0;
    for (int k = 0; k < g->key_count; k++) {
        volatile unsigned differs = 0;
        for (int i = 0; i < SWAN_GUARD_KEY_MAX; i++) differs |= (unsigned char)(g->key[k][i] ^ padded[i]);
        found |= ((differs - 1u) >> 31) & 1u;
    }
    return found != 0;
}

bool swan_guard_key_ok(const swan_guard *g, const char *authorization)
{
    char padded[SWAN_GUARD_KEY_MAX] = {0};
    if (!g->key_count) return true;
    if (!authorization || strncasecmp(authorization, "Bearer ", 7) != 0) return false;
    const char *key = authorization + 7 + strspn(authorization + 7, " ");
    size_t n = strlen(key);
    if (!n || n >= sizeof padded) return false;
    memcpy(padded, key, n);
    return key_listed(g, padded);
}

/* Whether name[0 .. n) is an entry of a comma-separated list. */
static bool listed(const char *list, const char *name, size_t n)
{
    for (const char *at = list; at && *at;) {
        at += strspn(at, " ,");
        size_t length = strcspn(at, " ,");
        if (length == n && n && !strncasecmp(at, name, n)) return true;
        at += length;
    }
    return false;
}

/* The name in "name:port" or "[v6]:port"; 0 for what is neither. */
static size_t host_name_length(const char *host)
{
    size_t n;
    if (host[0] == '[') {
        n = strcspn(host, "]");
        n += host[n] == ']';
    } else {
        n = strcspn(host, ":");
    }
    if (!host[n]) return n;
    return host[n] == ':' && strspn(host + n + 1, "0123456789") == strlen(host + n + 1) ? n : 0;
}

bool swan_guard_host_ok(const swan_guard *g, const char *host)
{
    if (!host) return false;
    size_t n = host_name_length(host);
    if (!n) return false;
    if (listed(g->hosts, host, n)) return true;
    return g->loopback ? listed("localhost,127.0.0.1,[::1]", host, n) : !g->hosts;
}

bool swan_guard_origin_named(const swan_guard *g, const char *origin)
{
    return origin && listed(g->origins, origin, strlen(origin));
}

bool swan_guard_origin_ok(const swan_guard *g, const char *host, const char *origin, const char *fetch_site)
{
    if (swan_guard_origin_named(g, origin)) return true;
    if (fetch_site && strcmp(fetch_site, "same-origin") != 0 && strcmp(fetch_site, "none") != 0) return false;
    if (!origin) return true;
    const char *name = !strncmp(origin, "http://", 7) ? origin + 7 : !strncmp(origin, "https://", 8) ? origin + 8 : NULL;
    return name && host && !strcasecmp(name, host);
}
