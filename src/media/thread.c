#include "media/thread.h"

void swan_thread_block_signals(sigset_t *before)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
}

void swan_thread_restore_signals(const sigset_t *before) { pthread_sigmask(SIG_SETMASK, before, NULL); }

int swan_thread_start(pthread_t *thread, void *(*body)(void *), void *arg)
{
    sigset_t before;
    swan_thread_block_signals(&before);
    int error = pthread_create(thread, NULL, body, arg);
    swan_thread_restore_signals(&before);
    return error;
}
