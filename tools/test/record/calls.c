// Calls everything that the recorder records, counts its own calls, and says the counts: what the test holds the trace
// against. With an argument it ends in another way than by its return.
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 2000, KEPT = 64 };

// Sizes that nothing else in the process asks for: the test tells this program's blocks by them.
enum { OWN = 100003 };

static atomic_int allocations, frees, reallocations;

static void *counted(void *block) {
  if (block == NULL) abort();
  atomic_fetch_add(&allocations, 1);
  return block;
}

static void drop(void *block) {
  free(block);
  atomic_fetch_add(&frees, 1);
}

static void *resize(void *block, size_t size) {
  void *moved = realloc(block, size);
  if (moved == NULL) abort();
  atomic_fetch_add(&reallocations, 1);
  return moved;
}

// A block of each kind, each passed through realloc, some kept for another thread to free.
static void *_Atomic shelf[KEPT];

static void *work(void *seed) {
  unsigned at = (unsigned)(uintptr_t)seed;
  for (int round = 0; round < ROUNDS; round++) {
    void *aligned = NULL;
    if (posix_memalign(&aligned, 256, OWN) != 0) abort();
    void *blocks[] = {counted(malloc(OWN)),
                      counted(calloc(1, OWN)),
                      counted(aligned),
                      counted(aligned_alloc(64, OWN)),
                      counted(memalign(32, OWN)),
                      counted(valloc(OWN)),
                      counted(realloc(NULL, OWN)),
                      counted(reallocarray(NULL, 1, OWN))};
    if (realloc(blocks[0], SIZE_MAX / 2) != NULL) abort();  // refused: no event
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
      if (malloc_usable_size(blocks[i]) < OWN) abort();
      blocks[i] = resize(blocks[i], OWN + 1 + i);
      at = at * 1103515245u + 12345u;
      void *other = atomic_exchange(&shelf[(at >> 16) % KEPT], blocks[i]);
      if (other != NULL) drop(other);
    }
    free(NULL);  // no event
  }
  return NULL;
}

static void report(void) {
  printf("{\"allocations\":%d,\"frees\":%d,\"reallocations\":%d}\n", allocations, frees, reallocations);
  fflush(stdout);
}

int main(int count, char **arguments) {
  const char *ending = count > 1 ? arguments[1] : "return";
  pthread_t threads[3];
  for (uintptr_t i = 0; i < 3; i++) pthread_create(&threads[i], NULL, work, (void *)(i + 1));
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < KEPT; i++) {
    void *block = atomic_exchange(&shelf[i], NULL);
    if (block == NULL) continue;
    // realloc to nothing is a free.
    if (i % 2 == 0 && realloc(block, 0) == NULL) {
      atomic_fetch_add(&frees, 1);
    } else {
      drop(block);
    }
  }
  if (strcmp(ending, "fork") == 0) {
    pid_t child = fork();
    if (child == 0) {
      for (int i = 0; i < 100; i++) free(malloc(OWN));
      _exit(0);
    }
    waitpid(child, NULL, 0);
  }
  report();
  if (strcmp(ending, "_exit") == 0) _exit(7);
  if (strcmp(ending, "kill") == 0) raise(SIGKILL);
  if (strcmp(ending, "abort") == 0) abort();
  if (strcmp(ending, "exec") == 0) execl("/bin/true", "true", (char *)NULL);
  if (strcmp(ending, "wait") == 0) pause();
  return 0;
}
