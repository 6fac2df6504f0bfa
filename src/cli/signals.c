#include "cli/signals.h"

#include <signal.h>
#include <stddef.h>

static void (*volatile stop_function)(void);

static void on_signal(int number)
{
    stop_function();
    signal(number, SIG_DFL);
}

void cli_catch_signals(void (*stop)(void))
{
    stop_function = stop;
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}
