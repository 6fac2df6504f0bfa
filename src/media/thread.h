/* Threads of this module. */
#ifndef SWAN_MEDIA_THREAD_H
#define SWAN_MEDIA_THREAD_H

#include <pthread.h>
#include <signal.h>

/* pthread_create with every signal blocked: those are for the program's own threads. An error number, 0 when it runs. */
int swan_thread_start(pthread_t *thread, void *(*body)(void *), void *arg);

/* The same for threads that a library starts in between. */
void swan_thread_block_signals(sigset_t *before);
void swan_thread_restore_signals(const sigset_t *before);

#endif
