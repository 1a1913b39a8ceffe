// The native yardstick for two threads: the patterns of bench/threads-worker.ts through whatever malloc is preloaded,
// with the same sizes, the same random numbers, and the same ways to wait. Prints one line of JSON.
//
//   threads PATTERN SECONDS     PATTERN: larson, xmalloc-64, xmalloc-random, mstress, cache-thrash
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LIVE = 1000, CHUNK = 4096, LARSON_ROUND = 8192, WRITES = 100, BATCH = 64, BATCHES = 64 };

typedef struct {
  uint32_t seed;
  int thread;
  void **live;
} Thread;

typedef long (*Chunk)(Thread *);

// Words that different threads write, each in a line of its own.
typedef struct {
  _Alignas(64) atomic_uint value;
} Word;

static Word stop, tail, head, rounds[2];
static _Alignas(64) void *arrays[2][LIVE];
static _Alignas(64) void *_Atomic transfer[LIVE];
static _Alignas(64) void *ring[BATCHES][BATCH];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static inline uint32_t next(Thread *t) {
  t->seed ^= t->seed << 13;
  t->seed ^= t->seed >> 17;
  t->seed ^= t->seed << 5;
  return t->seed;
}

// Waits a moment: first by looking again and again, then asleep, as the other side's Atomics.wait.
static int wait_while(Word *word, uint32_t value) {
  for (int look = 0; look < 1000; look++)
    if (atomic_load(&word->value) != value) return 1;
  nanosleep(&(struct timespec){0, 100000}, NULL);
  return atomic_load(&word->value) != value;
}

static long larson(Thread *t) {
  Word *mine = &rounds[t->thread], *others = &rounds[1 - t->thread];
  const uint32_t round = atomic_load(&mine->value);
  void **array = arrays[((uint32_t)t->thread + round) & 1];
  for (int i = 0; i < LARSON_ROUND; i++) {
    const uint32_t at = next(t) % LIVE;
    free(array[at]);
    array[at] = malloc(8 + next(t) % 993);
  }
  atomic_store(&mine->value, round + 1);
  while (atomic_load(&others->value) == round && atomic_load(&stop.value) == 0) wait_while(others, round);
  return LARSON_ROUND;
}

static long produce(Thread *t, uint32_t least, uint32_t range) {
  const uint32_t at = atomic_load_explicit(&tail.value, memory_order_relaxed);
  if (at - atomic_load(&head.value) == BATCHES && !wait_while(&head, at - BATCHES)) return 0;
  for (int i = 0; i < BATCH; i++) ring[at % BATCHES][i] = malloc(least + next(t) % range);
  atomic_store(&tail.value, at + 1);
  return BATCH;
}

static long consume(void) {
  const uint32_t at = atomic_load_explicit(&head.value, memory_order_relaxed);
  if (atomic_load(&tail.value) == at && !wait_while(&tail, at)) return 0;
  for (int i = 0; i < BATCH; i++) free(ring[at % BATCHES][i]);
  atomic_store(&head.value, at + 1);
  return BATCH;
}

static long xmalloc_64(Thread *t) { return t->thread == 0 ? produce(t, 64, 1) : consume(); }
static long xmalloc_random(Thread *t) { return t->thread == 0 ? produce(t, 16, 497) : consume(); }

static long mstress(Thread *t) {
  void **live = t->live;
  for (int i = 0; i < CHUNK; i++) {
    const uint32_t at = next(t) % LIVE;
    if (live[at] != NULL) {
      free(live[at]);
      live[at] = NULL;
    } else {
      live[at] = malloc(16 + next(t) % 1009);
    }
    if ((i & 3) == 0) {
      const uint32_t other = next(t) % LIVE;
      live[other] = atomic_exchange(&transfer[next(t) % LIVE], live[other]);
    }
  }
  return CHUNK;
}

static long cache_thrash(Thread *t) {
  (void)t;
  for (int i = 0; i < CHUNK / 16; i++) {
    volatile char *block = malloc(8);
    for (int write = 0; write < WRITES; write++) block[write & 7]++;
    free((void *)block);
  }
  return CHUNK / 16;
}

static const struct {
  const char *name;
  Chunk chunk;
} PATTERNS[] = {{"larson", larson},
                {"xmalloc-64", xmalloc_64},
                {"xmalloc-random", xmalloc_random},
                {"mstress", mstress},
                {"cache-thrash", cache_thrash}};

static Chunk chunk;
static double seconds;
static pthread_barrier_t barrier;
static double starts[2], ends[2];
static long counts[2];

static void *run(void *argument) {
  Thread *t = argument;
  t->live = calloc(LIVE, sizeof *t->live);
  // The first time warms up, as the other side does.
  for (int time = 0; time < 2; time++) {
    pthread_barrier_wait(&barrier);
    if (t->thread == 0) {
      atomic_store(&stop.value, 0);
      atomic_store(&rounds[0].value, 0);
      atomic_store(&rounds[1].value, 0);
    }
    pthread_barrier_wait(&barrier);
    const double start = now(), end = start + (time == 0 ? 0.3 : seconds) * 1e9;
    double at = start;
    long operations = 0;
    // The first one that is done ends it for both.
    while (at < end && atomic_load(&stop.value) == 0) {
      operations += chunk(t);
      at = now();
    }
    atomic_store(&stop.value, 1);
    starts[t->thread] = start;
    ends[t->thread] = at;
    counts[t->thread] = operations;
  }
  return NULL;
}

int main(int argc, char **argv) {
  for (size_t i = 0; argc == 3 && i < sizeof PATTERNS / sizeof *PATTERNS; i++)
    if (strcmp(argv[1], PATTERNS[i].name) == 0) chunk = PATTERNS[i].chunk;
  if (chunk == NULL) {
    fprintf(stderr, "usage: threads larson|xmalloc-64|xmalloc-random|mstress|cache-thrash SECONDS\n");
    return 2;
  }
  seconds = atof(argv[2]);
  pthread_barrier_init(&barrier, NULL, 2);
  pthread_t threads[2];
  static Thread data[2];
  for (int i = 0; i < 2; i++) {
    data[i] = (Thread){(uint32_t)i + 1, i, NULL};
    pthread_create(&threads[i], NULL, run, &data[i]);
  }
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  const double start = starts[0] < starts[1] ? starts[0] : starts[1], end = ends[0] > ends[1] ? ends[0] : ends[1];
  printf("{\"nsPerEvent\":%.3f}\n", (end - start) / (double)(counts[0] + counts[1]));
  return 0;
}
