/* A disk that fails, for the processes of one test: loaded before libc (LD_PRELOAD), it makes calls on the `-wal`
   and `-shm` files of a database fail for as long as the file that FAILING_DISK names is there. What is in that file
   says which calls:

   sync-once      the next sync of the log fails with EIO, and the file is removed
   sync-always    every sync of the log fails with EIO
   commit-once    the write that completes the next commit frame is done, and yet fails with EIO; the file is removed
   commit-always  the same for every commit frame
   log-limit      the log can't grow beyond 256 KiB: EDQUOT
   index-full     the index of the log can't grow: ENOSPC

   FAILING_DISK_HITS names a file that gets a byte for each call that failed. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAME_HEADER 24
#define LOG_LIMIT (256 << 10)

typedef ssize_t (*write_call)(int, const void *, size_t);
typedef ssize_t (*pwrite_call)(int, const void *, size_t, off_t);
typedef int (*sync_call)(int);

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))

/* Whether the last write of this thread was the header of a commit frame, so that the next one completes it. */
static __thread int completes_commit;

static int is_file(int fd, const char *suffix) {
  char link[64], name[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, name, sizeof name - 1);
  if (length < (ssize_t)strlen(suffix)) return 0;
  name[length] = 0;
  return strcmp(name + length - strlen(suffix), suffix) == 0;
}

/* Whether the disk fails in the way that is asked for; `once` uses it up. */
static int fails(const char *how) {
  const char *trigger = getenv("FAILING_DISK");
  if (trigger == NULL) return 0;
  int fd = open(trigger, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char asked[32] = "";
  ssize_t length = read(fd, asked, sizeof asked - 1);
  close(fd);
  if (length <= 0 || strcmp(asked, how) != 0) return 0;
  if (strstr(how, "-once") != NULL && unlink(trigger) != 0) return 0; /* another process was faster */
  const char *hits = getenv("FAILING_DISK_HITS");
  int log = hits == NULL ? -1 : open(hits, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log >= 0) {
    if (REAL(write_call, "write")(log, "!", 1) != 1) abort();
    close(log);
  }
  return 1;
}

static int sync_fails(int fd) { return is_file(fd, "-wal") && (fails("sync-once") || fails("sync-always")); }

static int sync_with(int fd, const char *name) {
  if (sync_fails(fd)) {
    errno = EIO;
    return -1;
  }
  return REAL(sync_call, name)(fd);
}

int fdatasync(int fd) { return sync_with(fd, "fdatasync"); }
int fsync(int fd) { return sync_with(fd, "fsync"); }

/* The errno of a write that is not to be done, 0 if it is. */
static int refused(int fd, off_t at) {
  if (is_file(fd, "-wal") && at >= LOG_LIMIT && fails("log-limit")) return EDQUOT;
  if (is_file(fd, "-shm") && fails("index-full")) return ENOSPC;
  return 0;
}

/* What becomes of a write that was done. */
static ssize_t done(int fd, const unsigned char *bytes, size_t count, ssize_t written) {
  if (!is_file(fd, "-wal")) return written;
  if (count == FRAME_HEADER) {
    uint32_t size_after_commit;
    memcpy(&size_after_commit, bytes + 4, sizeof size_after_commit);
    completes_commit = size_after_commit != 0;
  } else if (completes_commit) {
    completes_commit = 0;
    if (fails("commit-once") || fails("commit-always")) {
      errno = EIO;
      return -1;
    }
  }
  return written;
}

ssize_t write(int fd, const void *bytes, size_t count) {
  int error = refused(fd, lseek(fd, 0, SEEK_CUR)); /* -1 for a pipe, which is no log */
  if (error != 0) {
    errno = error;
    return -1;
  }
  return done(fd, bytes, count, REAL(write_call, "write")(fd, bytes, count));
}

static ssize_t pwrite_with(int fd, const void *bytes, size_t count, off_t at, const char *name) {
  int error = refused(fd, at);
  if (error != 0) {
    errno = error;
    return -1;
  }
  return done(fd, bytes, count, REAL(pwrite_call, name)(fd, bytes, count, at));
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
  return pwrite_with(fd, bytes, count, at, "pwrite");
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
  return pwrite_with(fd, bytes, count, at, "pwrite64");
}
