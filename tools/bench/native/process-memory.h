// What a program of bench/native has of memory, without what it has mapped for itself;
// tools/bench/framework/process-memory.ts reads the same figures. Nothing here allocates.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// What this program has mapped for itself, and touched.
static size_t own;

static void *map(size_t bytes) {
  own += (bytes + 4095) & ~(size_t)4095;
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (p == MAP_FAILED) {
    perror("mmap");
    exit(1);
  }
  return p;
}

// A figure in kilobytes of a file in /proc, by its name, in bytes; 0 where it isn't.
static size_t figure(const char *path, const char *name) {
  static char text[8192];
  const int file = open(path, O_RDONLY);
  const ssize_t length = file < 0 ? 0 : read(file, text, sizeof text - 1);
  if (file >= 0) close(file);
  text[length < 0 ? 0 : length] = 0;
  const char *found = strstr(text, name);
  return found == NULL ? 0 : strtoul(found + strlen(name), NULL, 10) * 1024;
}

// Anonymous resident bytes of the process, what a heap is made of.
static size_t resident(void) { return figure("/proc/self/smaps_rollup", "\nAnonymous:"); }

// What is mapped to be written to; address space that is only set aside isn't, as it isn't in a heap's `mappedBytes`.
static size_t mapped_bytes(void) { return figure("/proc/self/status", "\nVmData:"); }

static size_t without_own(size_t bytes) { return bytes > own ? bytes - own : 0; }
