/* Makes the disk fail for the files of one database: preloaded into the server, told by a shared page.

   TORTURE_PREFIX  the database's path; its -wal and -journal are meant too
   TORTURE_PAGE    a file of 8 int32: see `struct page` */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, TRUNCATE = 4 };
enum { DATABASE = 1, LOG = 2 };

struct page {
    int32_t operations; /* which fail: WRITE | SYNC | TRUNCATE, 0 none */
    int32_t files;      /* of which files: DATABASE | LOG */
    int32_t error;      /* with which errno */
    int32_t skip;       /* how many pass before */
    int32_t is_torn;    /* a write that fails leaves half of itself behind */
    int32_t failed;     /* how many have failed */
    int32_t syncs;      /* how many were asked for */
    int32_t unused;
};

static volatile struct page *page;
static const char *prefix;

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("TORTURE_PAGE");
    prefix = getenv("TORTURE_PREFIX");
    int fd = path ? open(path, O_RDWR) : -1;
    if (fd < 0) return;
    void *found = mmap(0, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (found != MAP_FAILED) page = found;
    close(fd);
}

static int file_of(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    size_t start = strlen(prefix);
    if (strncmp(path, prefix, start)) return 0;
    if (!path[start]) return DATABASE;
    return strcmp(path + start, "-wal") ? 0 : LOG;
}

static int fails(int operation, int fd) {
    if (!page || !prefix) return 0;
    int saved = errno, file = file_of(fd);
    errno = saved;
    if (file && operation == SYNC) __sync_fetch_and_add(&page->syncs, 1);
    if (!(page->operations & operation) || !(page->files & file)) return 0;
    if (__sync_fetch_and_sub(&page->skip, 1) > 0) return 0;
    page->skip = 0;
    __sync_fetch_and_add(&page->failed, 1);
    return 1;
}

#define REAL(name, type) static type real; if (!real) real = (type)dlsym(RTLD_NEXT, name)

typedef ssize_t (*pwrite_type)(int, const void *, size_t, off64_t);
typedef ssize_t (*write_type)(int, const void *, size_t);
typedef int (*sync_type)(int);
typedef int (*truncate_type)(int, off64_t);

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL("pwrite64", pwrite_type);
    if (fails(WRITE, fd)) {
        if (page->is_torn && size > 1) real(fd, data, size / 2, at);
        errno = page->error;
        return -1;
    }
    return real(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    return pwrite64(fd, data, size, at);
}

ssize_t write(int fd, const void *data, size_t size) {
    REAL("write", write_type);
    if (fails(WRITE, fd)) { errno = page->error; return -1; }
    return real(fd, data, size);
}

int fsync(int fd) {
    REAL("fsync", sync_type);
    if (fails(SYNC, fd)) { errno = page->error; return -1; }
    return real(fd);
}

int fdatasync(int fd) {
    REAL("fdatasync", sync_type);
    if (fails(SYNC, fd)) { errno = page->error; return -1; }
    return real(fd);
}

int ftruncate64(int fd, off64_t size) {
    REAL("ftruncate64", truncate_type);
    if (fails(TRUNCATE, fd)) { errno = page->error; return -1; }
    return real(fd, size);
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
