/* Faults in the system calls on one folder: preloaded, this stands before the C library.

   `faults_arm` counts, from then on, the calls whose file is the folder or in it, in all threads,
   and at the given one kills the process, fails, or writes only half. Each call's name is written to
   `log`, and after a rename the name that the file has now. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum action { NOTHING, KILL_BEFORE, KILL_HALFWAY, KILL_AFTER, WRITE_HALF, FAIL, KEEP_FAILING };

static char folder[PATH_MAX];
static atomic_int calls;
static int at, action, number, log_fd = -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void tell(const char *what, const char *name) {
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%s%s\n", what, name);
    if (log_fd >= 0) REAL(write)(log_fd, line, length);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int is_inside(const char *path) {
    size_t length = strlen(folder);
    return length && path && !strncmp(path, folder, length) &&
           (path[length] == '/' || !path[length]);
}

static int is_file_inside(int file) {
    char link[64], path[PATH_MAX];
    if (!folder[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_inside(path);
}

/* What to do in a call that is about to begin. */
static enum action begin(const char *name, int inside) {
    if (!inside) return NOTHING;
    int n = atomic_fetch_add(&calls, 1) + 1;
    tell("", name);
    int now = n == at || (action == KEEP_FAILING && n > at);
    if (!now) return NOTHING;
    if (action == KILL_BEFORE) die();
    if (action == FAIL || action == KEEP_FAILING) errno = number;
    return action == KEEP_FAILING ? FAIL : action;
}

static void end(enum action what) {
    if (what == KILL_AFTER || what == KILL_HALFWAY) die();
}

void faults_arm(const char *path, int call, int what, int error, int log) {
    snprintf(folder, sizeof folder, "%s", path);
    at = call, action = what, number = error, log_fd = log;
}

#define AROUND(name, inside, call)                    \
    enum action what = begin(#name, inside);          \
    if (what == FAIL) return -1;                      \
    int result = call;                                \
    end(what);                                        \
    return result

#define OPEN(name)                                                      \
    int name(const char *path, int flags, ...) {                        \
        va_list rest;                                                   \
        va_start(rest, flags);                                          \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                   \
        AROUND(open, is_inside(path), REAL(name)(path, flags, mode));   \
    }
OPEN(open)
OPEN(open64)

ssize_t write(int file, const void *bytes, size_t size) {
    enum action what = begin("write", is_file_inside(file));
    if (what == FAIL) return -1;
    if (what == WRITE_HALF || what == KILL_HALFWAY) size = (size + 1) / 2;
    ssize_t result = REAL(write)(file, bytes, size);
    end(what);
    return result;
}

int rename(const char *from, const char *to) {
    enum action what = begin("rename", is_inside(to));
    if (what == FAIL) return -1;
    int result = REAL(rename)(from, to);
    if (!result && is_inside(to)) tell("committed ", strrchr(to, '/') + 1);
    end(what);
    return result;
}

int close(int file) {
    struct stat status;
    int counts = !fstat(file, &status) && S_ISREG(status.st_mode) && is_file_inside(file);
    enum action what = begin("close", counts);
    int result = REAL(close)(file); /* a close that fails has closed */
    end(what);
    return what == FAIL ? errno = number, -1 : result;
}

int fsync(int file) { AROUND(fsync, is_file_inside(file), REAL(fsync)(file)); }
int ftruncate64(int file, off64_t size) {
    AROUND(ftruncate, is_file_inside(file), REAL(ftruncate64)(file, size));
}
int unlink(const char *path) { AROUND(unlink, is_inside(path), REAL(unlink)(path)); }
int mkdir(const char *path, mode_t mode) { AROUND(mkdir, is_inside(path), REAL(mkdir)(path, mode)); }
int rmdir(const char *path) { AROUND(rmdir, is_inside(path), REAL(rmdir)(path)); }
