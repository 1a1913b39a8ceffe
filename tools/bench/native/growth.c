// Random replacement in ever more live objects, or in ever more mapped memory, through whatever malloc is preloaded:
// tools/bench/suites/random-replacement.ts with the same random numbers, sizes and operations. Prints rows as JSON.
//
//   growth objects|bytes OPERATIONS ROW...   rising; so many operations in each round, of which the median counts
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "clock.h"

enum { ROUNDS = 5, FIRST_WARM_UPS = 20, WARM_UPS = 3, LEAST_BYTES = 16, SMALL_SIZES = 113, MEAN_BYTES = 98304 };

typedef enum { OBJECTS, BYTES } Kind;

static void **blocks;
static size_t live;
static uint32_t seed = 1, checksum;

static inline uint32_t next(void) {
  seed ^= seed << 13;
  seed ^= seed >> 17;
  seed ^= seed << 5;
  return seed;
}

// From 16 to 128 bytes, all as likely; or to 1 MiB, each doubling as likely.
static inline uint32_t random_size(Kind kind) {
  const uint32_t random = next();
  if (kind == OBJECTS) return LEAST_BYTES + ((random >> 16) * SMALL_SIZES >> 16);
  const uint32_t doubling = LEAST_BYTES << (random >> 28);
  return doubling + (random & (doubling - 1));
}

// What is counted is written to, so that no operation is the first to touch a page. What is mapped isn't.
static void grow(Kind kind, size_t count) {
  for (; live < count; live++) {
    blocks[live] = malloc(random_size(kind));
    if (kind == OBJECTS) *(volatile char *)blocks[live] = 1;
  }
}

static inline void replace(Kind kind, long operations) {
  const double scale = (double)live / 4294967296;
  for (long i = 0; i < operations; i++) {
    const uint32_t at = (uint32_t)(next() * scale);
    free(blocks[at]);
    const uint32_t size = random_size(kind);
    blocks[at] = malloc(size);
    checksum += at + size;
  }
}

static void replace_objects(long operations) { replace(OBJECTS, operations); }
static void replace_bytes(long operations) { replace(BYTES, operations); }

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: growth objects|bytes OPERATIONS ROW...\n");
    return 2;
  }
  const Kind kind = strcmp(argv[1], "bytes") == 0 ? BYTES : OBJECTS;
  void (*const run)(long) = kind == BYTES ? replace_bytes : replace_objects;
  const long operations = atol(argv[2]);
  const size_t last = strtoull(argv[argc - 1], NULL, 10);
  const size_t most = kind == BYTES ? last / MEAN_BYTES : last;
  // Not by malloc: what is measured has the objects alone.
  blocks = mmap(NULL, most * sizeof *blocks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (blocks == MAP_FAILED) {
    perror("mmap");
    return 1;
  }
  for (int i = 3; i < argc; i++) {
    const size_t row = strtoull(argv[i], NULL, 10);
    grow(kind, kind == BYTES ? row / MEAN_BYTES : row);
    double times[ROUNDS];
    for (int warm_up = 0; warm_up < (i == 3 ? FIRST_WARM_UPS : WARM_UPS); warm_up++) run(operations);
    for (int round = 0; round < ROUNDS; round++) {
      const double start = now();
      run(operations);
      times[round] = (now() - start) / (double)operations;
    }
    printf("%s{\"row\":%zu,\"values\":{\"nsPerOperation\":%.3f,\"checksum\":%u}}", i == 3 ? "[" : ",", row,
           median(times, ROUNDS), checksum);
  }
  printf("]\n");
  return 0;
}
