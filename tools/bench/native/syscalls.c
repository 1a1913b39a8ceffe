// What system calls for memory take in C, and a malloc and its free on whatever malloc is preloaded;
// tools/bench/suites/system-call-times.ts measures the same from JavaScript. Prints rows as JSON, of nanoseconds.
//
//   syscalls BYTES...
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"

enum { TOTAL_BYTES = 4 << 20, MOST_REPEATS = 200, PAIRS = 1000, CALLS = 10 };

static size_t page;

static char *map(size_t size) {
  char *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped != MAP_FAILED) return mapped;
  perror("mmap");
  exit(1);
}

static void touch(volatile char *bytes, size_t size) {
  for (size_t at = 0; at < size; at += page) bytes[at] = 1;
}

static double malloc_and_free(size_t size) {
  double times[CALLS];
  for (int call = 0; call < 2 * CALLS; call++) {
    const double start = now();
    for (int i = 0; i < PAIRS; i++) {
      void *volatile block = malloc(size);
      free(block);
    }
    if (call >= CALLS) times[call - CALLS] = (now() - start) / PAIRS;
  }
  return median(times, CALLS);
}

static void print_row(size_t size) {
  double mmaps[MOST_REPEATS], munmaps[MOST_REPEATS], madvises[MOST_REPEATS], faults[MOST_REPEATS], pairs[MOST_REPEATS];
  const size_t fitting = TOTAL_BYTES / size;
  const int repeats = fitting < 1 ? 1 : fitting > MOST_REPEATS ? MOST_REPEATS : (int)fitting;
  for (int i = 0; i < repeats; i++) {
    double start = now();
    char *mapped = map(size);
    mmaps[i] = now() - start;
    start = now();
    touch(mapped, size);
    const double first = now();
    touch(mapped, size);
    faults[i] = (first - start - (now() - first)) / (double)(size / page);
    start = now();
    madvise(mapped, size, MADV_DONTNEED);
    madvises[i] = now() - start;
    touch(mapped, size);
    start = now();
    munmap(mapped, size);
    munmaps[i] = now() - start;
    start = now();
    munmap(map(size), size);
    pairs[i] = now() - start;
  }
  printf(
      "{\"row\":%zu,\"values\":{\"mmap\":%.1f,\"munmap\":%.1f,\"madvise\":%.1f,\"fault\":%.2f,\"mapAndUnmap\":%.1f,"
      "\"mallocAndFree\":%.2f}}",
      size, median(mmaps, repeats), median(munmaps, repeats), median(madvises, repeats), median(faults, repeats),
      median(pairs, repeats), malloc_and_free(size));
}

int main(int argc, char **argv) {
  page = (size_t)sysconf(_SC_PAGESIZE);
  for (int i = 1; i < argc; i++) {
    printf(i == 1 ? "[" : ",");
    print_row((size_t)atoll(argv[i]));
  }
  printf("]\n");
  return argc > 1 ? 0 : 2;
}
