// The native yardstick: replays a trace through whatever malloc is preloaded, round by round, and prints one line of
// JSON. Also the other patterns that spanheap is held against, so that both sides run the same thing in the same
// minute.
//
//   replay trace FILE ROUNDS TOUCH      FILE is an unpacked trace (docs/traces.md)
//   replay pair COUNT                   free(malloc(64)) in a loop
//   replay mapped GIB OPERATIONS        random replacing of 16 KiB blocks in so many GiB, one write each
#define _GNU_SOURCE
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

// The compiler knows malloc and free, and would drop a pair whose block nobody uses.
static void *volatile escape;

static void *map(size_t bytes) {
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (p == MAP_FAILED) {
    perror("mmap");
    exit(1);
  }
  return p;
}

// Anonymous resident bytes of the process, what a heap is made of.
static size_t resident(void) {
  static char line[256];
  FILE *f = fopen("/proc/self/smaps_rollup", "r");
  size_t kilobytes = 0;
  while (f != NULL && fgets(line, sizeof line, f) != NULL) {
    if (sscanf(line, "Anonymous: %zu kB", &kilobytes) == 1) break;
  }
  if (f != NULL) fclose(f);
  return kilobytes * 1024;
}

static void touch(char *p, size_t size) {
  for (size_t i = 0; i < size; i += 64) ((volatile char *)p)[i] = 1;
}

static int compare(const void *a, const void *b) {
  const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

enum { SAMPLES = 16 };

static void play(const uint32_t *records, uint32_t from, uint32_t to, void **slots, int touching) {
  for (const uint32_t *r = records + 3 * (size_t)from, *end = records + 3 * (size_t)to; r < end; r += 3) {
    const uint32_t operation = r[0] & 0xff, slot = r[1], size = r[2];
    if (operation == 1) {
      free(slots[slot]);
      slots[slot] = NULL;
      continue;
    }
    if (operation == 0) {
      const uint32_t alignment = (r[0] >> 16) & 0xff;
      slots[slot] = alignment == 0 ? malloc(size) : memalign((size_t)1 << alignment, size);
    } else if (operation == 3) {
      slots[slot] = calloc(1, size);
    } else {
      // realloc(p, 0) would free; every heap here keeps the block.
      slots[slot] = realloc(slots[slot], size == 0 ? 1 : size);
    }
    if (touching) touch(slots[slot], size);
  }
}

static void trace(const char *path, int rounds, int touching) {
  FILE *f = fopen(path, "rb");
  if (f == NULL) {
    perror(path);
    exit(1);
  }
  fseek(f, 0, SEEK_END);
  const size_t bytes = (size_t)ftell(f);
  rewind(f);
  uint32_t *words = map(bytes);
  if (fread(words, 1, bytes, f) != bytes) {
    perror(path);
    exit(1);
  }
  fclose(f);
  const uint32_t slot_count = words[3], events = words[4];
  const uint32_t *records = words + 8;
  void **slots = map((slot_count + 1) * sizeof *slots);

  // Where the first round stops its clock to look at the resident size: evenly, and at the peak of live bytes.
  uint32_t *sizes = map((slot_count + 1) * sizeof *sizes);
  size_t live = 0, peak = 0;
  uint32_t stops[SAMPLES + 1], peak_event = 0;
  for (uint32_t i = 0; i < events; i++) {
    const uint32_t *r = records + 3 * (size_t)i;
    live -= sizes[r[1]];
    sizes[r[1]] = (r[0] & 0xff) == 1 ? 0 : r[2];
    live += sizes[r[1]];
    if (live > peak) {
      peak = live;
      peak_event = i;
    }
  }
  munmap(sizes, (slot_count + 1) * sizeof *sizes);
  for (uint32_t i = 0; i < SAMPLES; i++) stops[i] = (uint32_t)((uint64_t)events * (i + 1) / SAMPLES);
  stops[SAMPLES] = peak_event + 1;
  qsort(stops, SAMPLES + 1, sizeof *stops, compare);

  const size_t before = resident();
  double best = 1e300, cold = 0;
  size_t peak_resident = 0;
  for (int round = 0; round < rounds; round++) {
    double elapsed = 0;
    if (round == 0) {
      uint32_t from = 0;
      for (int i = 0; i <= SAMPLES; i++) {
        const double start = now();
        play(records, from, stops[i], slots, touching);
        elapsed += now() - start;
        from = stops[i];
        const size_t sampled = resident() - before;
        if (sampled > peak_resident) peak_resident = sampled;
      }
      cold = elapsed;
    } else {
      const double start = now();
      play(records, 0, events, slots, touching);
      elapsed = now() - start;
    }
    if (elapsed < best) best = elapsed;
    for (uint32_t s = 0; s < slot_count; s++) {
      free(slots[s]);
      slots[s] = NULL;
    }
  }
  printf("{\"nsPerEvent\":%.3f,\"coldNsPerEvent\":%.3f,\"peakResidentBytes\":%zu}\n", best / events, cold / events,
         peak_resident);
}

static void pair(long count) {
  double best = 1e300;
  for (int round = 0; round < 7; round++) {
    const double start = now();
    for (long i = 0; i < count; i++) {
      escape = malloc(64);
      free(escape);
    }
    const double elapsed = now() - start;
    if (elapsed < best) best = elapsed;
  }
  printf("{\"nsPerEvent\":%.3f}\n", best / (double)count);
}

static void mapped(size_t gib, long operations) {
  const size_t size = 16384, count = gib * 65536;
  char **blocks = map(count * sizeof *blocks);
  for (size_t i = 0; i < count; i++) {
    blocks[i] = malloc(size);
    *(volatile char *)blocks[i] = 1;
  }
  uint32_t seed = 1;
  double best = 1e300;
  for (int round = 0; round < 5; round++) {
    const double start = now();
    for (long i = 0; i < operations; i++) {
      seed ^= seed << 13;
      seed ^= seed >> 17;
      seed ^= seed << 5;
      const size_t at = seed % count;
      free(blocks[at]);
      blocks[at] = malloc(size);
      *(volatile char *)blocks[at] = 1;
    }
    const double elapsed = now() - start;
    if (elapsed < best) best = elapsed;
  }
  printf("{\"nsPerEvent\":%.3f}\n", best / (double)operations);
}

int main(int argc, char **argv) {
  if (argc == 5 && strcmp(argv[1], "trace") == 0) {
    trace(argv[2], atoi(argv[3]), atoi(argv[4]));
  } else if (argc == 3 && strcmp(argv[1], "pair") == 0) {
    pair(atol(argv[2]));
  } else if (argc == 4 && strcmp(argv[1], "mapped") == 0) {
    mapped((size_t)atol(argv[2]), atol(argv[3]));
  } else {
    fprintf(stderr, "usage: replay trace FILE ROUNDS TOUCH | pair COUNT | mapped GIB OPERATIONS\n");
    return 2;
  }
  return 0;
}
