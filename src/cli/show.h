/* What a run shows while it goes on: one line that redraws itself on a terminal, plain lines elsewhere, JSON events on request. */
#ifndef SWAN_CLI_SHOW_H
#define SWAN_CLI_SHOW_H

#include <swan/swan.h>

typedef struct cli_show {
    bool json, quiet, tty;
    swan_phase phase; /* last one shown */
    int step;
    double shown_at;  /* elapsed time of the last redraw */
    bool line_open;   /* the terminal's cursor stands behind a progress line */
} cli_show;

void cli_show_start(cli_show *show, bool json, bool quiet);
/* Callbacks over a cli_show as user. */
bool cli_show_progress(void *show, const swan_progress *progress);
void cli_show_log(void *show, swan_log_level level, const char *text);
/* Ends a progress line that is still open. */
void cli_show_end(cli_show *show);
/* "1.4 GiB" in buf. */
const char *cli_bytes(uint64_t bytes, char *buf, size_t n);
/* Which weights are resident and what crosses the bus, of a plan for a GPU: two lines; and as members of a JSON object. */
void cli_show_residency(const swan_plan *plan);
void cli_json_residency(const swan_plan *plan);
/* Writes text as a JSON string, quotes included; bytes that are no UTF-8 become U+FFFD. */
void cli_json_string(const char *text);

#endif
