// The native yardstick: replays a trace through whatever malloc is preloaded, round by round, and prints one line of
// JSON. Also the other patterns that spanheap is held against, so that both sides run the same thing in the same
// minute.
//
//   replay trace FILE ROUNDS TOUCH      FILE is an unpacked trace (docs/traces.md)
//   replay row ROW FILE EVENTS TOUCH REPLAYS MS
//                                       its first EVENTS, so often or so long: a row of the suite `traces`
//   replay calls FILE                   one replay between two calls of getppid, for strace to count what is between
//   replay pair COUNT                   free(malloc(64)) in a loop
//   replay mapped GIB OPERATIONS        random replacing of 16 KiB blocks in so many GiB, one write each
#define _GNU_SOURCE
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "clock.h"
#include "process-memory.h"

// The compiler knows malloc and free, and would drop a pair whose block nobody uses.
static void *volatile escape;

static long faults(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
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

typedef struct {
  const uint32_t *records;
  uint32_t slot_count, events;
  void **slots;
  // Of the sizes asked for: the highest sum, the event that reaches it, and the sum after each event.
  size_t peak;
  uint32_t peak_event;
  size_t *live;
} Trace;

// Reads a trace, or its first events. All memory comes from the system, before anything is measured.
static Trace read_trace(const char *path, uint32_t most) {
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
  Trace t = {.records = words + 8, .slot_count = words[3], .events = words[4] < most ? words[4] : most};
  t.slots = map((t.slot_count + 1) * sizeof *t.slots);
  t.live = map((t.events + 1) * sizeof *t.live);
  uint32_t *sizes = map((t.slot_count + 1) * sizeof *sizes);
  size_t live = 0;
  for (uint32_t i = 0; i < t.events; i++) {
    const uint32_t *r = t.records + 3 * (size_t)i;
    live -= sizes[r[1]];
    sizes[r[1]] = (r[0] & 0xff) == 1 ? 0 : r[2];
    live += sizes[r[1]];
    t.live[i] = live;
    if (live > t.peak) {
      t.peak = live;
      t.peak_event = i;
    }
  }
  munmap(sizes, (t.slot_count + 1) * sizeof *sizes);
  own -= ((t.slot_count + 1) * sizeof *sizes + 4095) & ~(size_t)4095;
  return t;
}

// Where a first round stops its clock to look at memory: evenly, and at the peak of live bytes. `stops` has count + 1.
static void find_stops(const Trace *t, uint32_t *stops, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) stops[i] = (uint32_t)((uint64_t)t->events * (i + 1) / count);
  stops[count] = t->peak_event + 1;
  qsort(stops, count + 1, sizeof *stops, compare);
}

static double play_all(const Trace *t, int touching) {
  const double start = now();
  play(t->records, 0, t->events, t->slots, touching);
  return now() - start;
}

static void free_all(const Trace *t) {
  for (uint32_t s = 0; s < t->slot_count; s++) {
    free(t->slots[s]);
    t->slots[s] = NULL;
  }
}

static void trace(const char *path, int rounds, int touching) {
  const Trace t = read_trace(path, UINT32_MAX);
  uint32_t stops[SAMPLES + 1];
  find_stops(&t, stops, SAMPLES);
  const size_t before = resident();
  double best = 1e300, cold = 0;
  size_t peak_resident = 0;
  for (int round = 0; round < rounds; round++) {
    double elapsed = 0;
    if (round == 0) {
      uint32_t from = 0;
      for (int i = 0; i <= SAMPLES; i++) {
        const double start = now();
        play(t.records, from, stops[i], t.slots, touching);
        elapsed += now() - start;
        from = stops[i];
        const size_t sampled = resident() - before;
        if (sampled > peak_resident) peak_resident = sampled;
      }
      cold = elapsed;
    } else {
      elapsed = play_all(&t, touching);
    }
    if (elapsed < best) best = elapsed;
    free_all(&t);
  }
  printf("{\"nsPerEvent\":%.3f,\"coldNsPerEvent\":%.3f,\"peakResidentBytes\":%zu}\n", best / t.events, cold / t.events,
         peak_resident);
}

enum { POINTS = 100, LEAST_REPLAYS = 1 };

// The best replay after the first: of so many, or of as many as `milliseconds` have room for; nanoseconds per event.
static double best_replay(const Trace *t, int touching, int replays, double milliseconds) {
  double best = 1e300;
  const double start = now();
  for (int replay = 0; replay < replays; replay++) {
    if (replay >= LEAST_REPLAYS && now() - start > milliseconds * 1e6) break;
    const double elapsed = play_all(t, touching);
    if (elapsed < best) best = elapsed;
    free_all(t);
  }
  return best / t->events;
}

static void print_line(const char *name, const uint32_t *stops, const size_t *bytes, const char *end) {
  printf("\"%s\":[", name);
  for (int i = 0; i <= POINTS; i++) printf("%s[%u,%.3f]", i == 0 ? "" : ",", stops[i], (double)bytes[i] / 1048576);
  printf("]%s", end);
}

// Blocks that are not written to: times alone. Blocks that are: memory over the first replay, and times. Memory is all
// that the process has but for the trace, since allocators take some before main: gperftools 4 MiB, where mimalloc
// maps 32. The C library and the stack, which are in it, have 0.1 MiB resident and 0.2 mapped.
static void row(const char *name, const char *path, uint32_t most, int touching, int replays, double milliseconds) {
  const Trace t = read_trace(path, most);
  if (!touching) {
    const double cold = play_all(&t, 0) / t.events;
    free_all(&t);
    printf("[{\"row\":\"%s\",\"values\":{\"nsPerEvent\":%.3f,\"coldNsPerEvent\":%.3f}}]\n", name,
           best_replay(&t, 0, replays, milliseconds), cold);
    return;
  }
  uint32_t stops[POINTS + 1], from = 0;
  size_t live[POINTS + 1], mapped[POINTS + 1], touched[POINTS + 1], peak_mapped = 0, peak_resident = 0;
  find_stops(&t, stops, POINTS);
  long faulted = 0;
  for (int i = 0; i <= POINTS; i++) {
    const long before = faults();
    play(t.records, from, stops[i], t.slots, 1);
    faulted += faults() - before;
    from = stops[i];
    live[i] = from == 0 ? 0 : t.live[from - 1];
    mapped[i] = without_own(mapped_bytes());
    touched[i] = without_own(resident());
    if (mapped[i] > peak_mapped) peak_mapped = mapped[i];
    if (touched[i] > peak_resident) peak_resident = touched[i];
  }
  free_all(&t);
  const double best = best_replay(&t, 1, replays, milliseconds);
  printf(
      "[{\"row\":\"%s\",\"values\":{\"touchedNsPerEvent\":%.3f,\"residentOverLive\":%.4f,"
      "\"mappedOverLive\":%.4f,\"faults\":%ld},\"series\":{",
      name, best, (double)peak_resident / (double)t.peak, (double)peak_mapped / (double)t.peak, faulted);
  print_line("live", stops, live, ",");
  print_line("mapped", stops, mapped, ",");
  print_line("resident", stops, touched, "}}]\n");
}

static void calls(const char *path) {
  const Trace t = read_trace(path, UINT32_MAX);
  getppid();
  play_all(&t, 1);
  getppid();
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
  } else if (argc == 8 && strcmp(argv[1], "row") == 0) {
    row(argv[2], argv[3], (uint32_t)strtoul(argv[4], NULL, 10), atoi(argv[5]), atoi(argv[6]), atof(argv[7]));
  } else if (argc == 3 && strcmp(argv[1], "calls") == 0) {
    calls(argv[2]);
  } else if (argc == 3 && strcmp(argv[1], "pair") == 0) {
    pair(atol(argv[2]));
  } else if (argc == 4 && strcmp(argv[1], "mapped") == 0) {
    mapped((size_t)atol(argv[2]), atol(argv[3]));
  } else {
    fprintf(stderr,
            "usage: replay trace FILE ROUNDS TOUCH | row ROW FILE EVENTS TOUCH REPLAYS MS | calls FILE | pair COUNT | "
            "mapped "
            "GIB OPERATIONS\n");
    return 2;
  }
  return 0;
}
