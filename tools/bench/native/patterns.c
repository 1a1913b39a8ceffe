// The patterns of bench/patterns/ through whatever malloc is preloaded, with the same sizes, random numbers, numbers of
// operations and ways to wait. Prints one line of JSON.
//
//   patterns PATTERN THREADS CHUNKS CONTROL   as many calls of the pattern by each of 1 or 2 threads, after half as
//   many to warm up;
//                                             CONTROL calls of a loop that shares nothing, where there are two
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

enum {
  MOST_THREADS = 2,
  CHUNK = 4096,
  LIVE = 1000,
  CONTROL_WORDS = 1 << 17,
  BATCH = 64,
  BATCHES = 64,
  LARSON_BLOCKS = 5000,
  LARSON_ROUND = 8192,
  MSTRESS_LIFE = 16,
  MSTRESS_COOKIE = 0x5bd1e995,
  RPTEST_PASSED = 100,
  RPTEST_STRIDE = 389,
  SH_BLOCKS = 4000,
  SH_HALF = SH_BLOCKS / 2,
  SLOTS_SHIFT = 15,
  WRITES = 100,
  THRASH_BLOCKS = 256,
  SIMPLE_MOST = 1600,
  SIMPLE_SIZE = 128,
  LARGE_LIVE = 20,
  LARGE_CHUNK = 10,
  LARGE_LEAST = 1 << 20,
  LARGE_RANGE = 7 << 20,
  PAGE = 4096,
};

// In lines of its own: the seed is written with each random number.
typedef struct {
  _Alignas(128) uint32_t seed;
  int thread;
  int *own;
  void **live;
} Player;

// Part of a pattern: plays some operations, and tells how many. An operation is a malloc and its free.
typedef long (*Chunk)(Player *);

// Words that different threads write, each in a line of its own.
typedef struct {
  _Alignas(64) atomic_uint value;
} Word;

typedef struct {
  _Alignas(64) atomic_uint is_full;
  _Alignas(64) void *blocks[RPTEST_PASSED];
} Box;

static int parties;
static Word tail, head, rounds[MOST_THREADS];
static Box boxes[MOST_THREADS];
static _Alignas(64) void *arrays[MOST_THREADS][LARSON_BLOCKS];
static _Alignas(64) void *_Atomic transfer[LIVE];
static _Alignas(64) void *_Atomic exchanged[SH_HALF];
static _Alignas(64) void *ring[BATCHES][BATCH];
static struct { _Alignas(64) void *_Atomic block; } given[MOST_THREADS];

static inline uint32_t next(Player *p) {
  uint32_t seed = p->seed;
  seed ^= seed << 13;
  seed ^= seed >> 17;
  seed ^= seed << 5;
  return p->seed = seed;
}

// Waits a moment: first by looking again and again, then asleep, as the other side's Atomics.wait.
static int wait_while(Word *word, uint32_t value) {
  for (int look = 0; look < 1000; look++)
    if (atomic_load(&word->value) != value) return 1;
  nanosleep(&(struct timespec){0, 100000}, NULL);
  return atomic_load(&word->value) != value;
}

// Written at both ends.
static inline void *block_of(size_t size) {
  char *block = malloc(size);
  *(volatile char *)block = 1;
  *(volatile char *)(block + size - 1) = 1;
  return block;
}

static long control(Player *p) {
  for (int i = 0; i < CHUNK; i++) {
    const uint32_t at = next(p) % CONTROL_WORDS;
    p->own[at] = (int)((uint32_t)p->own[at] + next(p));
  }
  return CHUNK;
}

static long larson(Player *p) {
  Word *mine = &rounds[p->thread], *others = &rounds[(p->thread + 1) % parties];
  const uint32_t round = atomic_load(&mine->value);
  void **array = arrays[((uint32_t)p->thread + round) % (uint32_t)parties];
  for (int i = 0; i < LARSON_ROUND; i++) {
    const uint32_t at = next(p) % LARSON_BLOCKS;
    free(array[at]);
    array[at] = block_of(8 + next(p) % 993);
  }
  atomic_store(&mine->value, round + 1);
  while (atomic_load(&others->value) == round) wait_while(others, round);
  return LARSON_ROUND;
}

static void *cookie_block(Player *p) {
  const size_t size = next(p) % 100 == 0 ? 16 + next(p) % 16369 : 16 + next(p) % 1009;
  uint32_t *block = malloc(size);
  *block = (uint32_t)(uintptr_t)block ^ MSTRESS_COOKIE;
  return block;
}

static void end_cookie_block(void *block) {
  if (*(uint32_t *)block != ((uint32_t)(uintptr_t)block ^ MSTRESS_COOKIE)) {
    fprintf(stderr, "a block was written over\n");
    exit(1);
  }
  free(block);
}

static void *mstress_life(void *argument) {
  Player *p = argument;
  void **live = p->live;
  for (int i = 0; i < MSTRESS_LIFE * CHUNK; i++) {
    const uint32_t at = next(p) % LIVE;
    if (live[at] != NULL) {
      end_cookie_block(live[at]);
      live[at] = NULL;
    } else {
      live[at] = cookie_block(p);
    }
    if ((i & 3) == 0) {
      const uint32_t other = next(p) % LIVE;
      live[other] = atomic_exchange(&transfer[next(p) % LIVE], live[other]);
    }
  }
  for (int at = 0; at < LIVE; at++) {
    if (live[at] != NULL) end_cookie_block(live[at]);
    live[at] = NULL;
  }
  return NULL;
}

// Here a thread does die.
static long mstress(Player *p) {
  pthread_t thread;
  pthread_create(&thread, NULL, mstress_life, p);
  pthread_join(thread, NULL);
  return MSTRESS_LIFE * CHUNK / 2;
}

static long rptest(Player *p) {
  Box *in = &boxes[p->thread], *out = &boxes[(p->thread + 1) % parties];
  if (atomic_load(&in->is_full)) {
    for (int at = 0; at < RPTEST_PASSED; at++) free(in->blocks[at]);
    atomic_store(&in->is_full, 0);
  }
  const int is_passing = !atomic_load(&out->is_full);
  for (int i = 0; i < LIVE; i++) {
    const int at = i * RPTEST_STRIDE % LIVE, passed = i - (LIVE - RPTEST_PASSED);
    if (is_passing && passed >= 0)
      out->blocks[passed] = p->live[at];
    else
      free(p->live[at]);
    p->live[at] = block_of(8 + next(p) % 15993);
  }
  if (is_passing) atomic_store(&out->is_full, 1);
  return LIVE;
}

// Half of an operation for each block, as taking it is.
static long produce(void) {
  const uint32_t at = atomic_load_explicit(&tail.value, memory_order_relaxed);
  if (at - atomic_load(&head.value) == BATCHES && !wait_while(&head, at - BATCHES)) return 0;
  for (int i = 0; i < BATCH; i++) ring[at % BATCHES][i] = malloc(64);
  atomic_store(&tail.value, at + 1);
  return BATCH / 2;
}

static long consume(void) {
  const uint32_t at = atomic_load_explicit(&head.value, memory_order_relaxed);
  if (atomic_load(&tail.value) == at && !wait_while(&tail, at)) return 0;
  for (int i = 0; i < BATCH; i++) free(ring[at % BATCHES][i]);
  atomic_store(&head.value, at + 1);
  return BATCH / 2;
}

static long xmalloc_test(Player *p) {
  if (parties == 2) return p->thread == 0 ? produce() : consume();
  return produce() + consume();
}

static void sh_fill(Player *p, int from) {
  for (int at = from; at < SH_BLOCKS; at++) {
    const uint32_t one = next(p) % 1000, other = next(p) % 1000;
    p->live[at] = block_of(1 + one * other / 1000);
  }
}

static long sh_bench(Player *p, int is_exchanging) {
  sh_fill(p, 0);
  for (int at = SH_BLOCKS - 1; at >= SH_HALF; at--) free(p->live[at]);
  sh_fill(p, SH_HALF);
  for (int at = 0; is_exchanging && at < SH_HALF; at++) p->live[at] = atomic_exchange(&exchanged[at], p->live[at]);
  for (int at = 0; at < SH_BLOCKS; at++) free(p->live[at]);
  return SH_BLOCKS + SH_HALF;
}

static long sh6bench(Player *p) { return sh_bench(p, 0); }
static long sh8bench(Player *p) { return sh_bench(p, 1); }

static long alloc_test(Player *p) {
  for (int i = 0; i < CHUNK; i++) {
    const uint32_t random = next(p);
    const uint32_t at = (random >> (32 - SLOTS_SHIFT)) * (random & ((1u << SLOTS_SHIFT) - 1)) >> SLOTS_SHIFT;
    if (p->live[at] != NULL) {
      free(p->live[at]);
      p->live[at] = NULL;
    } else {
      const int zeros = __builtin_clz(next(p));
      const uint32_t doubling = 8u << (zeros < 6 ? zeros : 6);
      p->live[at] = block_of(doubling + (next(p) & (doubling - 1)));
    }
  }
  return CHUNK / 2;
}

static long cache_thrash(Player *p) {
  (void)p;
  for (int i = 0; i < THRASH_BLOCKS; i++) {
    volatile char *block = malloc(8);
    for (int write = 0; write < WRITES; write++) block[write & 7]++;
    free((void *)block);
  }
  return THRASH_BLOCKS;
}

// What cache-scratch does before anything else.
static void give(Player *p) {
  for (int to = 0; p->thread == 0 && to < parties; to++) atomic_store(&given[to].block, malloc(8));
  while (atomic_load(&given[p->thread].block) == NULL) nanosleep(&(struct timespec){0, 100000}, NULL);
  free(given[p->thread].block);
}

static long glibc_simple(Player *p) {
  for (int count = 25; count <= SIMPLE_MOST; count *= 4) {
    for (int done = 0; done < SIMPLE_MOST; done += count) {
      for (int at = 0; at < count; at++) p->live[at] = malloc(SIMPLE_SIZE);
      for (int at = 0; at < count; at++) free(p->live[at]);
    }
  }
  return 4 * SIMPLE_MOST;
}

static long malloc_large(Player *p) {
  for (int i = 0; i < LARGE_CHUNK; i++) {
    const uint32_t at = next(p) % LARGE_LIVE;
    free(p->live[at]);
    const size_t size = LARGE_LEAST + next(p) % LARGE_RANGE;
    volatile char *block = p->live[at] = malloc(size);
    for (size_t byte = 0; byte < size; byte += PAGE) block[byte] = 1;
  }
  return LARGE_CHUNK;
}

static const struct {
  const char *name;
  Chunk chunk;
} PATTERNS[] = {{"larson", larson},
                {"mstress", mstress},
                {"rptest", rptest},
                {"xmalloc-test", xmalloc_test},
                {"sh6bench", sh6bench},
                {"sh8bench", sh8bench},
                {"alloc-test", alloc_test},
                {"cache-scratch", cache_thrash},
                {"cache-thrash", cache_thrash},
                {"glibc-simple", glibc_simple},
                {"malloc-large", malloc_large}};

// What is done one after the other; between two, the threads wait for each other.
typedef struct {
  Chunk chunk;
  long chunks;
  // The threads from one to the other take part.
  int first, last;
} Step;

enum { MOST_STEPS = 8 };

static Step steps[MOST_STEPS];
static int step_count, is_giving;
static pthread_barrier_t barrier;
static double starts[MOST_STEPS][MOST_THREADS], ends[MOST_STEPS][MOST_THREADS];
static long counts[MOST_STEPS][MOST_THREADS];

static void *run(void *argument) {
  Player *p = argument;
  p->own = calloc(CONTROL_WORDS, sizeof *p->own);
  p->live = calloc(1 << SLOTS_SHIFT, sizeof *p->live);
  if (is_giving) give(p);
  for (int step = 0; step < step_count; step++) {
    const Step *what = &steps[step];
    pthread_barrier_wait(&barrier);
    if (p->thread < what->first || p->thread > what->last) continue;
    starts[step][p->thread] = now();
    for (long played = 0; played < what->chunks;) {
      const long more = what->chunk(p);
      if (more > 0) played++;
      counts[step][p->thread] += more;
    }
    ends[step][p->thread] = now();
  }
  return NULL;
}

static double elapsed(int step) {
  const int first = steps[step].first, last = steps[step].last;
  const double start = starts[step][first] < starts[step][last] ? starts[step][first] : starts[step][last];
  return (ends[step][first] > ends[step][last] ? ends[step][first] : ends[step][last]) - start;
}

int main(int argc, char **argv) {
  Chunk chunk = NULL;
  for (size_t i = 0; argc == 5 && i < sizeof PATTERNS / sizeof *PATTERNS; i++)
    if (strcmp(argv[1], PATTERNS[i].name) == 0) chunk = PATTERNS[i].chunk;
  parties = chunk == NULL ? 0 : atoi(argv[2]);
  if (parties < 1 || parties > MOST_THREADS) {
    fprintf(stderr, "usage: patterns PATTERN THREADS CHUNKS CONTROL\n");
    return 2;
  }
  is_giving = strcmp(argv[1], "cache-scratch") == 0;
  const long chunks = atol(argv[3]), controls = atol(argv[4]);
  const int last = parties - 1;
  if (parties == 1) {
    steps[0] = (Step){chunk, chunks / 2, 0, 0};
    steps[1] = (Step){chunk, chunks, 0, 0};
    step_count = 2;
  } else {
    const Step all[] = {{control, controls, 0, 0}, {control, controls, 0, last}, {chunk, chunks / 2, 0, last},
                        {chunk, chunks, 0, last},  {control, controls, 1, 1},    {control, controls, 0, last}};
    memcpy(steps, all, sizeof all);
    step_count = sizeof all / sizeof *all;
  }
  const int measured = parties == 1 ? 1 : 3;
  pthread_barrier_init(&barrier, NULL, (unsigned)parties);
  pthread_t threads[MOST_THREADS];
  static Player players[MOST_THREADS];
  for (int i = 0; i < parties; i++) {
    players[i] = (Player){(uint32_t)i + 1, i, NULL, NULL};
    pthread_create(&threads[i], NULL, run, &players[i]);
  }
  for (int i = 0; i < parties; i++) pthread_join(threads[i], NULL);
  const double operations = (double)(counts[measured][0] + counts[measured][1]);
  // How many times as much two threads do as one where they share nothing, and what is taken off for cores that weren't
  // there.
  const double control = 2 * (elapsed(0) + elapsed(4)) / (elapsed(1) + elapsed(5));
  const double cores = parties == 1 ? 1 : control < 2 ? control : 2;
  printf("{\"nsPerOperation\":%.3f,\"operationsPerSecond\":%.0f,\"control\":", elapsed(measured) * cores / operations,
         operations * 1e9 / elapsed(measured));
  if (parties == 1)
    printf("null}\n");
  else
    printf("%.3f}\n", cores);
  return 0;
}
