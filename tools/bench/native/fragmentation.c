// Blocks whose sizes shift, as in tools/bench/suites/shifting-sizes.ts, through whatever malloc is preloaded: the same
// sizes, random numbers and operations. Prints a row of the suite `fragmentation` as JSON.
//
//   fragmentation ROW BYTES RELEASE   so many live bytes; RELEASE 1: the allocator is told to give free memory back
//                                     after each part of a phase
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>

#include "clock.h"
#include "process-memory.h"

typedef struct {
  uint32_t least, doublings;
} SizeRange;

static const SizeRange SMALL = {16, 5};
static const SizeRange PHASES[] = {{512, 4}, {8192, 5}, {16, 5}, {512, 4}};
enum {
  PHASE_COUNT = sizeof PHASES / sizeof *PHASES,
  PARTS = 8,
  TURNING_PARTS = PARTS / 2,
  POINTS = PHASE_COUNT * PARTS,
  SURVIVORS = 16,
  REST = 10,
  PAGE_BYTES = 4096,
  LEAST_MEAN_BYTES = 96,
};

static size_t target, live, replaced;
static long operations;
// From before the phase: those before `kept` have survived, those from `at` on aren't decided yet.
static char **old;
static size_t old_count, kept, at;
static char **fresh;
static size_t fresh_count;
static SizeRange range;
static uint32_t seed = 1;

static inline uint32_t next(void) {
  seed ^= seed << 13;
  seed ^= seed >> 17;
  seed ^= seed << 5;
  return seed;
}

static inline size_t allocate(void) {
  const uint32_t drawn = next();
  const uint32_t power = range.least << ((drawn >> 24) % range.doublings);
  const uint32_t size = power + (drawn & (power - 1));
  char *block = malloc(size);
  for (uint32_t page = PAGE_BYTES; page < size; page += PAGE_BYTES) *(volatile char *)(block + page) = 1;
  *(volatile char *)(block + size - 1) = 1;
  *(volatile uint32_t *)block = size;
  fresh[fresh_count++] = block;
  live += size;
  operations++;
  return size;
}

static inline void release_block(char *block) {
  live -= *(volatile uint32_t *)block;
  free(block);
  operations++;
}

static void turn_over(size_t end) {
  for (; at < end; at++) {
    char *block = old[at];
    if (next() % SURVIVORS == 0)
      old[kept++] = block;
    else
      release_block(block);
    while (live < target) allocate();
  }
}

static void replace(size_t end) {
  while (replaced < end) {
    const size_t chosen = next() % fresh_count;
    release_block(fresh[chosen]);
    fresh[chosen] = fresh[--fresh_count];
    while (live < target) replaced += allocate();
  }
}

// What was of the phase is of before from here on; in random order.
static void age(void) {
  for (size_t i = 0; i < fresh_count; i++) old[kept++] = fresh[i];
  old_count = kept;
  for (size_t i = old_count - 1; i > 0; i--) {
    const size_t other = next() % (i + 1);
    char *block = old[i];
    old[i] = old[other];
    old[other] = block;
  }
  kept = at = fresh_count = replaced = 0;
}

static void play(int phase, int part) {
  if (part == 0) age();
  range = PHASES[phase];
  if (part < TURNING_PARTS)
    turn_over(old_count * (size_t)(part + 1) / TURNING_PARTS);
  else
    replace(target * (size_t)(part + 1 - TURNING_PARTS) / (PARTS - TURNING_PARTS));
}

static void drop_most(void) {
  age();
  for (; at < old_count; at++) {
    if (next() % REST == 0)
      old[kept++] = old[at];
    else
      release_block(old[at]);
  }
}

// Each allocator has its own way, and glibc's malloc_trim is there beside all of them: it is the last to be asked for.
static int (*mallctl)(const char *, void *, size_t *, void *, size_t);
static void (*mi_collect)(bool);
static void (*release_free_memory)(void);

static void find_release(void) {
  *(void **)&mallctl = dlsym(RTLD_DEFAULT, "mallctl");
  *(void **)&mi_collect = dlsym(RTLD_DEFAULT, "mi_collect");
  *(void **)&release_free_memory = dlsym(RTLD_DEFAULT, "MallocExtension_ReleaseFreeMemory");
}

static void release(void) {
  if (mallctl != NULL) {
    // Of all arenas (MALLCTL_ARENAS_ALL).
    if (mallctl("arena.4096.purge", NULL, NULL, NULL, 0) == 0) return;
    fprintf(stderr, "jemalloc refuses to purge its arenas\n");
    exit(1);
  }
  if (mi_collect != NULL)
    mi_collect(true);
  else if (release_free_memory != NULL)
    release_free_memory();
  else
    malloc_trim(0);
}

static void print_line(const char *name, const long *x, const size_t *bytes, const char *end) {
  printf("\"%s\":[", name);
  for (int i = 0; i <= POINTS; i++) printf("%s[%ld,%.6f]", i == 0 ? "" : ",", x[i], (double)bytes[i] / 1048576);
  printf("]%s", end);
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: fragmentation ROW BYTES RELEASE\n");
    return 2;
  }
  target = strtoul(argv[2], NULL, 10);
  const int releasing = atoi(argv[3]);
  find_release();
  old = map(target / LEAST_MEAN_BYTES * sizeof *old + PAGE_BYTES);
  fresh = map(target / LEAST_MEAN_BYTES * sizeof *fresh + PAGE_BYTES);
  range = SMALL;
  while (live < target) allocate();

  static long x[POINTS + 1];
  static size_t lives[POINTS + 1], mapped[POINTS + 1], touched[POINTS + 1];
  const long before = operations;
  double elapsed = 0, release_time = 0, worst = 0, sum = 0;
  size_t peak_live = 0, peak_mapped = 0;
  long played = 0;
  for (int point = 0; point <= POINTS; point++) {
    double start = now();
    if (point < POINTS) {
      play(point / PARTS, point % PARTS);
      elapsed += now() - start;
      played = operations - before;
    } else {
      drop_most();
    }
    if (releasing) {
      start = now();
      release();
      release_time += now() - start;
    }
    x[point] = operations - before;
    lives[point] = live;
    mapped[point] = without_own(mapped_bytes());
    touched[point] = without_own(resident());
    if (mapped[point] > peak_mapped) peak_mapped = mapped[point];
    if (live > peak_live) peak_live = live;
    if (point < POINTS && point % PARTS == PARTS - 1) {
      const double over = (double)touched[point] / (double)live;
      if (over > worst) worst = over;
      sum += over;
    }
  }
  printf("[{\"row\":\"%s\",\"values\":{\"nsPerOperation\":%.3f,\"mappedOverLive\":%.4f,\"worstOverLive\":%.4f,",
         argv[1], elapsed / (double)played, (double)peak_mapped / (double)peak_live, worst);
  printf("\"meanOverLive\":%.4f,\"restOverLive\":%.4f,\"releaseMs\":", sum / PHASE_COUNT,
         (double)touched[POINTS] / (double)live);
  if (releasing)
    printf("%.4f},\"series\":{", release_time / 1e6);
  else
    printf("null},\"series\":{");
  print_line("live", x, lives, ",");
  print_line("mapped", x, mapped, ",");
  print_line("resident", x, touched, "}}]\n");
  return 0;
}
