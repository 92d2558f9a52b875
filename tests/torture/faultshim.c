/* Counts the calls with which a daemon changes files below one folder, and kills the caller, or fails a call, at a chosen one.
 *
 * Preloaded (LD_PRELOAD) into the processes of a daemon under test by torture/shim.py, which shares the file TORTURE_SHIM
 * with them: a header of 4096 bytes (what to do at which call), then a record for every call seen. Counters and records are
 * in shared memory, so they hold over all processes and threads of a daemon, and survive a SIGKILL.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { KILL_CALLER = 1, KILL_DAEMON = 2, FAIL = 3 };
enum { CREATE = 1, WRITE = 2, SYNC = 4, RENAME = 8, LINK = 16, REMOVE = 32, MKDIR = 64, TRUNCATE = 128, CHMOD = 256, READ = 512, SYMLINK = 1024 };
enum { PARENT = 1, WORKER = 2 };

struct shared {
    int32_t capacity;      /* records that fit */
    int32_t action;        /* 0: only record */
    int32_t target;        /* the first call that is met, from 1, among those that classes and roles choose */
    int32_t times;         /* how many calls are met from there on */
    int32_t error;         /* errno for FAIL */
    int32_t classes;       /* bits */
    int32_t roles;         /* bits */
    int32_t daemon;        /* the parent process's id */
    _Atomic int32_t chosen;   /* calls seen among those */
    _Atomic int32_t recorded; /* calls seen in all */
    char folder[3072];     /* absolute; calls elsewhere are not seen */
};

struct record {
    int32_t pid, tid, kind, met;  /* met: the action that was taken */
    int64_t inode;
    char name[16], path[480];
};

static struct shared *shared;
static struct record *records;

#define REAL(type, name) \
    static type (*real)(); \
    if (!real) real = (type(*)())dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TORTURE_SHIM");
    if (!path) return;
    int descriptor = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    struct stat found;
    if (descriptor < 0 || fstat(descriptor, &found) != 0) _exit(97);
    void *memory = mmap(NULL, found.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    syscall(SYS_close, descriptor);
    if (memory == MAP_FAILED) _exit(97);
    shared = memory;
    records = (struct record *)((char *)memory + 4096);
}

static int below(const char *path) {
    size_t length = strlen(shared->folder);
    return length && strncmp(path, shared->folder, length) == 0 && (path[length] == '/' || !path[length]);
}

/* Note a call. Returns -1 with errno set where it is to fail; does not return where the caller is to die. */
static int meet(const char *name, int kind, const char *path, int64_t inode) {
    int role = getpid() == shared->daemon ? PARENT : WORKER;
    int met = 0;
    if ((shared->classes & kind) && (shared->roles & role)) {
        int number = atomic_fetch_add(&shared->chosen, 1) + 1;
        if (shared->action && number >= shared->target && number - shared->target < shared->times) met = shared->action;
    }
    int slot = atomic_fetch_add(&shared->recorded, 1);
    if (slot < shared->capacity) {
        struct record *record = &records[slot];
        record->tid = syscall(SYS_gettid);
        record->kind = kind;
        record->met = met;
        record->inode = inode;
        strncpy(record->name, name, sizeof record->name - 1);
        strncpy(record->path, path + strlen(shared->folder), sizeof record->path - 1);
        atomic_thread_fence(memory_order_release);
        record->pid = getpid();
    }
    if (met == KILL_DAEMON && role == WORKER) kill(shared->daemon, SIGKILL);
    if (met == KILL_DAEMON || met == KILL_CALLER) for (;;) kill(getpid(), SIGKILL);
    if (met == FAIL) { errno = shared->error; return -1; }
    return 0;
}

/* `subject` is what the call is about where that is not `path`: the name that goes when `path` comes */
static int at_path(const char *name, int kind, int folder, const char *path, int from, const char *subject) {
    if (!shared || !path) return 0;
    char whole[PATH_MAX];
    if (path[0] != '/') {
        char link[64];
        snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
        ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, whole, sizeof whole - 1);
        if (length < 0 || length + strlen(path) + 2 > sizeof whole) return 0;
        whole[length] = '/';
        strcpy(whole + length + 1, path);
        path = whole;
    }
    if (!below(path)) return 0;
    struct stat found;
    int there = fstatat(subject ? from : AT_FDCWD, subject ? subject : path, &found, AT_SYMLINK_NOFOLLOW) == 0;
    return meet(name, kind, path, there ? (int64_t)found.st_ino : 0);
}

static int at_descriptor(const char *name, int kind, int descriptor) {
    if (!shared || descriptor < 3) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    if (!below(path)) return 0;
    struct stat found;
    return meet(name, kind, path, fstat(descriptor, &found) == 0 ? (int64_t)found.st_ino : 0);
}

static int opening(int flags) {
    return flags & (O_CREAT | O_TRUNC) || (flags & O_ACCMODE) != O_RDONLY ? CREATE : READ;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, name); \
        va_list rest; va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        int saved = errno; \
        if (at_path("open", opening(flags), AT_FDCWD, path, 0, NULL)) return -1; \
        errno = saved; \
        return real(path, flags, mode); \
    }
#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(int, name); \
        va_list rest; va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        if (at_path("open", opening(flags), folder, path, 0, NULL)) return -1; \
        return real(folder, path, flags, mode); \
    }
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)

#define DESCRIPTOR(type, name, kind, parameters, arguments) \
    type name parameters { \
        REAL(type, name); \
        if (at_descriptor(#name, kind, fd)) return -1; \
        return real arguments; \
    }
DESCRIPTOR(ssize_t, write, WRITE, (int fd, const void *data, size_t size), (fd, data, size))
DESCRIPTOR(ssize_t, writev, WRITE, (int fd, const struct iovec *parts, int count), (fd, parts, count))
DESCRIPTOR(ssize_t, pwrite, WRITE, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
DESCRIPTOR(ssize_t, pwrite64, WRITE, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
DESCRIPTOR(ssize_t, pwritev, WRITE, (int fd, const struct iovec *parts, int count, off_t at), (fd, parts, count, at))
DESCRIPTOR(ssize_t, pwritev64, WRITE, (int fd, const struct iovec *parts, int count, off64_t at), (fd, parts, count, at))
DESCRIPTOR(ssize_t, sendfile, WRITE, (int fd, int from, off_t *at, size_t size), (fd, from, at, size))
DESCRIPTOR(ssize_t, sendfile64, WRITE, (int fd, int from, off64_t *at, size_t size), (fd, from, at, size))
DESCRIPTOR(int, fsync, SYNC, (int fd), (fd))
DESCRIPTOR(int, fdatasync, SYNC, (int fd), (fd))
DESCRIPTOR(int, syncfs, SYNC, (int fd), (fd))
DESCRIPTOR(int, ftruncate, TRUNCATE, (int fd, off_t size), (fd, size))
DESCRIPTOR(int, ftruncate64, TRUNCATE, (int fd, off64_t size), (fd, size))
DESCRIPTOR(int, fallocate, TRUNCATE, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
DESCRIPTOR(int, fallocate64, TRUNCATE, (int fd, int mode, off64_t at, off64_t size), (fd, mode, at, size))
DESCRIPTOR(int, fchmod, CHMOD, (int fd, mode_t mode), (fd, mode))

ssize_t copy_file_range(int from, off64_t *at, int fd, off64_t *to, size_t size, unsigned flags) {
    REAL(ssize_t, copy_file_range);
    if (at_descriptor("copy_file_range", WRITE, fd)) return -1;
    return real(from, at, fd, to, size, flags);
}

/* posix_fallocate returns its error */
#define ALLOCATE(name, offset) \
    int name(int fd, offset at, offset size) { \
        REAL(int, name); \
        if (at_descriptor("fallocate", TRUNCATE, fd)) return errno; \
        return real(fd, at, size); \
    }
ALLOCATE(posix_fallocate, off_t) ALLOCATE(posix_fallocate64, off64_t)

/* calls with two names are known by the second, which is the one that comes to be */
#define NAMED(name, kind, where, path, from_where, from, parameters, arguments) \
    int name parameters { \
        REAL(int, name); \
        if (at_path(#name, kind, where, path, from_where, from)) return -1; \
        return real arguments; \
    }
#define HERE AT_FDCWD
NAMED(rename, RENAME, HERE, to, HERE, from, (const char *from, const char *to), (from, to))
NAMED(renameat, RENAME, folder, to, origin, from, (int origin, const char *from, int folder, const char *to),
      (origin, from, folder, to))
NAMED(renameat2, RENAME, folder, to, origin, from,
      (int origin, const char *from, int folder, const char *to, unsigned flags), (origin, from, folder, to, flags))
NAMED(link, LINK, HERE, to, HERE, from, (const char *from, const char *to), (from, to))
NAMED(linkat, LINK, folder, to, origin, from, (int origin, const char *from, int folder, const char *to, int flags),
      (origin, from, folder, to, flags))
NAMED(symlink, SYMLINK, HERE, to, HERE, NULL, (const char *from, const char *to), (from, to))
NAMED(symlinkat, SYMLINK, folder, to, HERE, NULL, (const char *from, int folder, const char *to), (from, folder, to))
NAMED(unlink, REMOVE, HERE, path, HERE, NULL, (const char *path), (path))
NAMED(unlinkat, REMOVE, folder, path, HERE, NULL, (int folder, const char *path, int flags), (folder, path, flags))
NAMED(rmdir, REMOVE, HERE, path, HERE, NULL, (const char *path), (path))
NAMED(mkdir, MKDIR, HERE, path, HERE, NULL, (const char *path, mode_t mode), (path, mode))
NAMED(mkdirat, MKDIR, folder, path, HERE, NULL, (int folder, const char *path, mode_t mode), (folder, path, mode))
NAMED(truncate, TRUNCATE, HERE, path, HERE, NULL, (const char *path, off_t size), (path, size))
NAMED(truncate64, TRUNCATE, HERE, path, HERE, NULL, (const char *path, off64_t size), (path, size))
NAMED(chmod, CHMOD, HERE, path, HERE, NULL, (const char *path, mode_t mode), (path, mode))
NAMED(fchmodat, CHMOD, folder, path, HERE, NULL, (int folder, const char *path, mode_t mode, int flags),
      (folder, path, mode, flags))
