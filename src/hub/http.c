#include "hub/http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "hub/listing.h"

struct swan_http {
    swan_http_config config;
    CURL *easy;
    /* of the transfer that runs */
    const swan_http_request *request;
    swan_http_reply *reply;
    bool begun;
    swan_status sink; /* what begin or data returned */
    char problem[CURL_ERROR_SIZE], content_range[96];
    curl_off_t length;
};

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_result;

static void global_init(void) { global_result = curl_global_init(CURL_GLOBAL_DEFAULT); }

swan_status swan_http_open(const swan_http_config *config, swan_http **out)
{
    *out = NULL;
    pthread_once(&global_once, global_init);
    swan_http *h = global_result == CURLE_OK ? calloc(1, sizeof *h) : NULL;
    CURL *easy = h ? curl_easy_init() : NULL;
    if (!easy) {
        free(h);
        return SWAN_FAIL(SWAN_E_NOMEM, "network: libcurl cannot be started");
    }
    h->config = *config;
    h->easy = easy;
    *out = h;
    return SWAN_OK;
}

void swan_http_close(swan_http *h)
{
    if (!h) return;
    curl_easy_cleanup(h->easy);
    free(h);
}

/* ---- texts ---- */

swan_status swan_http_escape(const char *text, bool slash, char *out, size_t n)
{
    size_t used = 0;
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c) ||
                     (slash && c == '/');
        if (used + 4 > n) return SWAN_FAIL(SWAN_E_INVALID, "%.100s…: address too long", text);
        used += (size_t)snprintf(out + used, n - used, plain ? "%c" : "%%%02X", c);
    }
    if (n) out[used] = 0;
    return SWAN_OK;
}

bool swan_http_is_private(const char *url)
{
    if (!strncasecmp(url, "https://", 8)) return true;
    if (strncasecmp(url, "http://", 7) != 0) return false;
    static const char *const own[] = {"127.0.0.1", "localhost", "[::1]"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        size_t n = strlen(own[i]);
        if (!strncasecmp(url + 7, own[i], n) && strchr("/:?", url[7 + n])) return true; /* strchr finds the end as well */
    }
    return false;
}

/* The URL without its query, which may hold a signature. */
typedef struct shown_url {
    char text[256];
} shown_url;

static shown_url show(const char *url)
{
    shown_url s;
    swan_listing_printable(url, s.text, sizeof s.text);
    s.text[strcspn(s.text, "?#")] = 0;
    return s;
}

/* ---- callbacks of libcurl ---- */

static bool stopped(const swan_http *h)
{
    return (h->config.cancel && atomic_load(h->config.cancel)) || (h->config.stop && atomic_load(h->config.stop));
}

static int on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    return stopped(user);
}

/* The value of a header line when it has this name: without spaces around it, in buf. */
static bool header_is(const char *line, size_t n, const char *name, char *buf, size_t room)
{
    size_t m = strlen(name);
    if (n <= m || line[m] != ':' || strncasecmp(line, name, m) != 0) return false;
    const char *from = line + m + 1, *end = line + n;
    while (from < end && (*from == ' ' || *from == '\t')) from++;
    while (end > from && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ')) end--;
    if ((size_t)(end - from) >= room) return false; /* of unreasonable length: as if it were not there */
    memcpy(buf, from, (size_t)(end - from));
    buf[end - from] = 0;
    return true;
}

/* Link: <URL>; rel="next", <URL>; rel="last" */
static void read_link(const char *value, char next[SWAN_HTTP_URL])
{
    for (const char *p = strchr(value, '<'); p; p = strchr(p + 1, '<')) {
        const char *end = strchr(p, '>');
        if (!end) return;
        size_t parameters = strcspn(end, ",<"), n = (size_t)(end - p) - 1;
        const char *rel = strstr(end, "rel=\"next\"");
        if (rel && rel < end + parameters && n < SWAN_HTTP_URL) {
            memcpy(next, p + 1, n);
            next[n] = 0;
            return;
        }
    }
}

static size_t on_header(char *line, size_t size, size_t count, void *user)
{
    swan_http *h = user;
    size_t n = size * count;
    char value[SWAN_HTTP_URL];
    if (n > 5 && !memcmp(line, "HTTP/", 5)) { /* another answer: a redirect was followed */
        *h->reply = (swan_http_reply){0};
        h->content_range[0] = 0;
    } else if (header_is(line, n, "ETag", value, sizeof h->reply->etag)) {
        /* a weak one ("W/…") is no proof that bytes are the same */
        size_t length = strlen(value);
        bool strong = length > 2 && value[0] == '"' && value[length - 1] == '"' && strcspn(value + 1, "\" \\") == length - 2;
        for (size_t i = 0; i < length; i++) strong &= (unsigned char)value[i] > 0x20 && (unsigned char)value[i] < 0x7f;
        if (strong) strcpy(h->reply->etag, value);
    } else if (header_is(line, n, "Content-Range", value, sizeof h->content_range)) {
        strcpy(h->content_range, value);
    } else if (header_is(line, n, "Link", value, sizeof value)) {
        read_link(value, h->reply->next);
    } else if (header_is(line, n, "X-Error-Message", value, sizeof value)) {
        swan_listing_printable(value, h->reply->said, sizeof h->reply->said);
    }
    return n;
}

/* "bytes 100-199/200"; the total may be '*'. */
static bool read_range(const char *text, swan_http_reply *r)
{
    unsigned long long first, last, total;
    int all = sscanf(text, "bytes %llu-%llu/%llu", &first, &last, &total);
    if (all < 2 || last < first || (all == 3 && total <= last)) return false;
    r->first = first;
    r->has_total = all == 3;
    r->total = all == 3 ? total : 0;
    return true;
}

static swan_status begin(swan_http *h)
{
    swan_http_reply *r = h->reply;
    const char *type = NULL;
    h->begun = true;
    curl_easy_getinfo(h->easy, CURLINFO_CONTENT_TYPE, &type);
    curl_easy_getinfo(h->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &h->length);
    r->html = type && !strncasecmp(type, "text/html", 9);
    r->partial = r->status == 206;
    if (r->partial && !read_range(h->content_range, r))
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: HTTP 206 without a usable Content-Range", show(h->request->url).text);
    if (!r->partial && h->length >= 0) {
        r->has_total = true;
        r->total = (uint64_t)h->length;
    }
    return h->request->begin ? h->request->begin(h->request->user, r) : SWAN_OK;
}

static size_t on_data(char *data, size_t size, size_t count, void *user)
{
    swan_http *h = user;
    size_t n = size * count;
    if (h->reply->status == 0) curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &h->reply->status);
    if (h->reply->status != 200 && h->reply->status != 206) return n; /* the page of an error */
    if (!h->begun) h->sink = begin(h);
    if (!h->sink && stopped(h)) return 0;
    if (!h->sink) h->sink = h->request->data(h->request->user, data, n);
    return h->sink ? 0 : n;
}

/* ---- one request ---- */

static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value)
{
    char line[SWAN_HTTP_URL];
    snprintf(line, sizeof line, "%s: %s", name, value);
    struct curl_slist *grown = curl_slist_append(list, line);
    return grown ? grown : list; /* without If-Range or the token it works, or fails and says so */
}

static struct curl_slist *set_up(swan_http *h, const swan_http_request *q)
{
    CURL *c = h->easy;
    bool secure = !strncasecmp(q->url, "https://", 8);
    curl_easy_reset(c); /* keeps the connections */
    curl_easy_setopt(c, CURLOPT_URL, q->url);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, h->problem);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "swan/" SWAN_VERSION);
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, 10L);
    /* what began encrypted stays so */
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
#else
    curl_easy_setopt(c, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS, secure ? CURLPROTO_HTTPS : CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
    curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)(1000 * h->config.silence_s));
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)(h->config.silence_s + 0.5));
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 256L * 1024);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, h);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, h);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, h);
    /* sizes, ranges and hashes are those of the file, not of a compressed form */
    struct curl_slist *list = add_header(NULL, "Accept-Encoding", "identity");
    char text[SWAN_HTTP_URL - 64];
    if (q->with_token && h->config.token) {
        snprintf(text, sizeof text, "Bearer %s", h->config.token);
        list = add_header(list, "Authorization", text); /* libcurl drops it where a redirect leaves host, port or scheme */
    }
    if (q->from) {
        snprintf(text, sizeof text, "%llu-", (unsigned long long)q->from);
        curl_easy_setopt(c, CURLOPT_RANGE, text);
        if (q->etag && q->etag[0]) list = add_header(list, "If-Range", q->etag);
    }
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, list);
    return list;
}

static bool is_passing(CURLcode rc)
{
    switch (rc) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return true;
    default: return false;
    }
}

static swan_status explain_status(const swan_http *h, const swan_http_request *q, swan_http_reply *r)
{
    long redirects = 0;
    curl_off_t wait = 0;
    curl_easy_getinfo(h->easy, CURLINFO_REDIRECT_COUNT, &redirects);
    curl_easy_getinfo(h->easy, CURLINFO_RETRY_AFTER, &wait);
    if (wait > 0) r->wait_s = (double)wait;
    /* behind a redirect, 403 is how a signed address that has run out is refused */
    r->again = r->status == 408 || r->status == 416 || r->status == 425 || r->status == 429 || r->status >= 500 ||
               (r->status == 403 && redirects > 0);
    const char *hint = "";
    bool token = q->with_token && h->config.token;
    if (r->status == 401 || (r->status == 403 && redirects == 0))
        hint = !q->with_token ? "" : token ? ": the token in HF_TOKEN may not read it, or its terms have to be accepted on its page first"
               : ": it is private, has terms to be accepted, or does not exist; a token that may read it goes into HF_TOKEN";
    else if (r->status == 404) hint = ": there is no such repository, revision or file";
    else if (r->status == 407) hint = ": the proxy wants a name and password";
    return SWAN_FAIL(r->status == 404 ? SWAN_E_NOT_FOUND : SWAN_E_IO, "%s: HTTP %ld%s%s%s", show(q->url).text, r->status, hint,
                     r->said[0] ? "; it said: " : "", r->said);
}

swan_status swan_http_get(swan_http *h, const swan_http_request *q, swan_http_reply *r)
{
    *r = (swan_http_reply){0};
    h->request = q;
    h->reply = r;
    h->begun = false;
    h->sink = SWAN_OK;
    h->problem[0] = h->content_range[0] = 0;
    struct curl_slist *headers = set_up(h, q);
    CURLcode rc = curl_easy_perform(h->easy);
    curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &r->status);
    bool good = r->status == 200 || r->status == 206;
    if (rc == CURLE_OK && good && !h->begun) h->sink = begin(h); /* an empty body */
    swan_status s = h->sink;
    if (!s && stopped(h)) s = SWAN_FAIL(SWAN_E_CANCELLED, "stopped");
    if (!s && rc != CURLE_OK) {
        r->again = is_passing(rc);
        s = SWAN_FAIL(SWAN_E_IO, "%s: %s", show(q->url).text, h->problem[0] ? h->problem : curl_easy_strerror(rc));
    }
    if (!s && !good) s = explain_status(h, q, r);
    curl_slist_free_all(headers);
    return s;
}

/* ---- a text ---- */

typedef struct text_sink {
    const char *url;
    char *text;
    size_t bytes, limit;
} text_sink;

static swan_status take_text(void *user, const void *data, size_t bytes)
{
    text_sink *t = user;
    if (bytes > t->limit - t->bytes)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted at most %zu bytes", show(t->url).text, t->limit);
    char *grown = realloc(t->text, t->bytes + bytes + 1);
    if (!grown) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", show(t->url).text);
    memcpy(grown + t->bytes, data, bytes);
    t->text = grown;
    t->bytes += bytes;
    grown[t->bytes] = 0;
    return SWAN_OK;
}

swan_status swan_http_get_text(swan_http *h, const char *url, size_t limit, char **text, size_t *bytes, swan_http_reply *reply)
{
    text_sink sink = {.url = url, .limit = limit};
    swan_http_request request = {.url = url, .with_token = true, .user = &sink, .data = take_text};
    swan_status s = swan_http_get(h, &request, reply);
    if (!s && reply->html)
        s = SWAN_FAIL(SWAN_E_FORMAT, "%s: answered with a web page: a login page or a proxy in between?", show(url).text);
    if (!s) s = take_text(&sink, "", 0); /* an empty body is a text too */
    if (s) {
        free(sink.text);
        return s;
    }
    *text = sink.text;
    *bytes = sink.bytes;
    return SWAN_OK;
}
