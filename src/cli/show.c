#include "cli/show.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void cli_show_start(cli_show *show, bool json, bool quiet)
{
    *show = (cli_show){.json = json, .quiet = quiet, .tty = isatty(STDERR_FILENO), .phase = SWAN_PHASE_LOAD, .step = -1};
}

void cli_show_end(cli_show *show)
{
    if (show->line_open) fputc('\n', stderr);
    show->line_open = false;
}

static void draw_line(cli_show *show, const swan_progress *p)
{
    enum { WIDTH = 24 };
    char bar[WIDTH + 1];
    int full = (int)(p->fraction * WIDTH);
    for (int i = 0; i < WIDTH; i++) bar[i] = i < full ? '=' : i == full ? '>' : ' ';
    bar[WIDTH] = 0;
    char left[32] = "";
    if (p->remaining_s >= 0) snprintf(left, sizeof left, ", %.0f s left", p->remaining_s);
    fprintf(stderr, "\r\033[K[%s] %3.0f%%  %s %d/%d  %.1f s%s", bar, 100 * p->fraction, swan_phase_name(p->phase), p->step, p->steps,
            p->elapsed_s, left);
    fflush(stderr);
    show->line_open = true;
}

/* Off a terminal: a line when a phase begins, and for each denoising step. */
static void plain_line(const cli_show *show, const swan_progress *p)
{
    bool new_phase = p->phase != show->phase, new_step = p->phase == SWAN_PHASE_DENOISE && p->step != show->step;
    if (!new_phase && !new_step) return; /* on a GPU there are reports inside a step */
    fprintf(stderr, "%s %d/%d (%.0f%%, %.1f s)\n", swan_phase_name(p->phase), p->step, p->steps, 100 * p->fraction, p->elapsed_s);
}

bool cli_show_progress(void *user, const swan_progress *p)
{
    cli_show *show = user;
    if (show->json) {
        printf("{\"event\":\"progress\",\"phase\":\"%s\",\"step\":%d,\"steps\":%d,\"fraction\":%.4f,\"elapsed_s\":%.3f", swan_phase_name(p->phase),
               p->step, p->steps, p->fraction, p->elapsed_s);
        if (p->remaining_s >= 0) printf(",\"remaining_s\":%.1f", p->remaining_s);
        printf("}\n");
        fflush(stdout);
    } else if (!show->quiet && show->tty) {
        /* frames come faster than anybody reads */
        if (p->phase != show->phase || p->phase != SWAN_PHASE_DECODE || p->elapsed_s - show->shown_at > 0.1) {
            draw_line(show, p);
            show->shown_at = p->elapsed_s;
        }
    } else if (!show->quiet) {
        plain_line(show, p);
    }
    show->phase = p->phase;
    show->step = p->step;
    return true;
}

void cli_show_log(void *user, swan_log_level level, const char *text)
{
    cli_show *show = user;
    if (level == SWAN_LOG_DEBUG || (show->quiet && level != SWAN_LOG_WARN)) return;
    cli_show_end(show);
    if (show->json) {
        printf("{\"event\":\"log\",\"level\":\"%s\",\"text\":", level == SWAN_LOG_WARN ? "warning" : "info");
        cli_json_string(text);
        printf("}\n");
    } else {
        fprintf(stderr, "%s%s\n", level == SWAN_LOG_WARN ? "note: " : "", text);
    }
}

const char *cli_bytes(uint64_t bytes, char *buf, size_t n)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double x = (double)bytes;
    size_t u = 0;
    while (x >= 1024 && u + 1 < sizeof units / sizeof *units) x /= 1024, u++;
    snprintf(buf, n, u ? "%.2f %s" : "%.0f %s", x, units[u]);
    return buf;
}

/* Bytes of the UTF-8 character at s; 0 when there is none (file names may hold any bytes). */
static size_t character(const unsigned char *s)
{
    if (s[0] < 0x80) return 1;
    size_t n = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    bool overlong = (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xF0 && s[1] < 0x90);
    bool impossible = (s[0] == 0xED && s[1] > 0x9F) || (s[0] == 0xF4 && s[1] > 0x8F); /* surrogates; above U+10FFFF */
    return overlong || impossible ? 0 : n;
}

void cli_json_string(const char *text)
{
    putchar('"');
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        size_t n = character(s);
        if (!n) printf("\\ufffd");
        else if (*s == '"' || *s == '\\') printf("\\%c", *s);
        else if (*s < 0x20) printf("\\u%04x", *s);
        else fwrite(s, 1, n, stdout);
        s += n ? n : 1;
    }
    putchar('"');
}

void cli_show_residency(const swan_plan *p)
{
    char a[32], b[32], c[32];
    if (!p->host_weight_bytes) {
        printf("resident        all weights\n");
        return;
    }
    printf("resident        %d of %d blocks, %d of %d text layers; the rest is streamed from %s of host memory:\n", p->blocks - p->blocks_streamed,
           p->blocks, p->text_layers - p->text_layers_streamed, p->text_layers, cli_bytes(p->host_weight_bytes, a, sizeof a));
    printf("over the bus    %12s a step, %s a video for its prompt\n", cli_bytes(p->step_bus_bytes, b, sizeof b),
           cli_bytes(p->prompt_bus_bytes, c, sizeof c));
}

void cli_json_residency(const swan_plan *p)
{
    printf("\"host_weight_bytes\":%llu,\"blocks\":%d,\"blocks_streamed\":%d,\"text_layers\":%d,\"text_layers_streamed\":%d,"
           "\"step_bus_bytes\":%llu,\"prompt_bus_bytes\":%llu", (unsigned long long)p->host_weight_bytes, p->blocks, p->blocks_streamed,
           p->text_layers, p->text_layers_streamed, (unsigned long long)p->step_bus_bytes, (unsigned long long)p->prompt_bus_bytes);
}
