/* Files in memory that shrink while they are read. A read behind the end of such a file ends the process (SIGBUS), unless
 * there is something else to read: zeros are put there, and it is noted, so that the caller can say what happened. It is how
 * Wayland's compositors survive the buffers of their clients (wl_shm_buffer_begin_access). */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_FILES = 64 };

static struct {
    atomic_uintptr_t start, end; /* 0, 0: free */
    atomic_int shrunk;
} files[MOST_FILES];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int watched;
static uintptr_t page;
static struct sigaction before;

static void put_zeros(int number, siginfo_t *info, void *context) {
    (void)context;
    uintptr_t at = (uintptr_t)info->si_addr, until = 0;
    for (int i = 0; i < MOST_FILES; i++) {
        uintptr_t end = atomic_load(&files[i].end);
        if (at < atomic_load(&files[i].start) || at >= end) continue;
        atomic_store(&files[i].shrunk, 1);
        if (end > until) until = end;
    }
    at &= ~(page - 1);
    int how = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS;
    if (info->si_code > 0 && until && mmap((void *)at, until - at, PROT_READ | PROT_WRITE, how, -1, 0) != MAP_FAILED) return;
    sigaction(number, &before, NULL); /* it is not about these files: what would have happened without this */
    if (info->si_code <= 0) raise(number);
}

static int is_ours(const struct sigaction *action) {
    return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == put_zeros;
}

static void catch_signals(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = put_zeros;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigemptyset(&action.sa_mask);
    page = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigaction(SIGBUS, &action, &before);
}

/* Watches so many bytes of a file in memory; returns a number to ask by, -1 if too many are watched. */
int32_t mlpx_watch(void *start, int64_t bytes) {
    int32_t i = 0;
    pthread_mutex_lock(&lock);
    while (i < MOST_FILES && atomic_load(&files[i].end)) i++;
    if (i == MOST_FILES) i = -1;
    else {
        atomic_store(&files[i].shrunk, 0);
        atomic_store(&files[i].start, (uintptr_t)start);
        atomic_store(&files[i].end, (uintptr_t)start + (uintptr_t)bytes);
        if (!watched++) catch_signals();
    }
    pthread_mutex_unlock(&lock);
    return i;
}

/* Whether a read came behind the end of the file. */
int32_t mlpx_shrunk(int32_t file) { return atomic_load(&files[file].shrunk); }

void mlpx_unwatch(int32_t file) {
    struct sigaction now;
    pthread_mutex_lock(&lock);
    atomic_store(&files[file].end, 0);
    atomic_store(&files[file].start, 0);
    if (!--watched && !sigaction(SIGBUS, NULL, &now) && is_ours(&now)) sigaction(SIGBUS, &before, NULL);
    pthread_mutex_unlock(&lock);
}
