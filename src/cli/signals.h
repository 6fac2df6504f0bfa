/* Stopping on request, the same way in every command that takes time. */
#ifndef SWAN_CLI_SIGNALS_H
#define SWAN_CLI_SIGNALS_H

/* From now on the first Ctrl-C (or SIGTERM, SIGHUP) calls stop, on the signal's terms; the second one ends the process. A reader
 * that went away and a full file are failed writes, not the end of the process with half a file behind it. */
void cli_catch_signals(void (*stop)(void));

#endif
