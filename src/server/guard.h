/* Who may ask: keys, and the Host and Origin of a request (DNS rebinding, forged requests from other sites). Pure functions. */
#ifndef SWAN_SERVER_GUARD_H
#define SWAN_SERVER_GUARD_H

#include "base/status.h"

enum { SWAN_GUARD_KEYS_MAX = 64, SWAN_GUARD_KEY_MAX = 256 };

/* Comma-separated lists are borrowed and may be NULL. */
typedef struct swan_guard {
    char key[SWAN_GUARD_KEYS_MAX][SWAN_GUARD_KEY_MAX]; /* padded with zeros */
    int key_count;              /* 0: no key is asked for */
    bool loopback;              /* bound to this machine alone: then only names of this machine are a good Host */
    const char *hosts;          /* further names that are a good Host */
    const char *origins;        /* origins that may call from a browser: "https://a.example" */
} swan_guard;

/* Adds keys separated by commas or newlines; blanks around them and lines that begin with # are left out. SWAN_E_INVALID: one is
 * too long or they are too many; source is named in the message. */
swan_status swan_guard_add_keys(swan_guard *g, const char *text, const char *source);
/* Whether an Authorization header ("Bearer KEY") holds one of the keys. Takes the same time whichever key it is and wherever it
 * differs. True when there are no keys. */
bool swan_guard_key_ok(const swan_guard *g, const char *authorization);
/* Whether the Host header names this server, as far as that can be known. */
bool swan_guard_host_ok(const swan_guard *g, const char *host);
/* Whether origin is one that was named. */
bool swan_guard_origin_named(const swan_guard *g, const char *origin);
/* Whether a call that changes something may come from there: no Origin (not a browser), the server's own, or a named one.
 * fetch_site: the header Sec-Fetch-Site. Each may be NULL. */
bool swan_guard_origin_ok(const swan_guard *g, const char *host, const char *origin, const char *fetch_site);

#endif
