// Stands in front of the C library's malloc (LD_PRELOAD) and appends a record of 16 bytes for each call to a log that
// `spanheap record` has made: tools/record/native-log.ts reads it once the program has ended. The log is a file mapped
// as shared memory, so that what was written stays however the program ends: by _exit, by a signal, or by exec.
//
// Its path is in SPANHEAP_RECORD_LOG. The first process that claims the log owns it; children don't write to it. An
// exec in the owner goes on in the same log.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
// Thread-local storage of the usual kind is allocated by malloc when a thread first uses it.
#define THREAD_LOCAL static __thread __attribute__((tls_model("initial-exec")))

enum {
  VERSION = 1,
  HEADER_BYTES = 4096,
  CHUNK_RECORDS = 65536,
  // 2^32 records: more than a trace can count.
  MOST_CHUNKS = 65536,
};

// The log's first page. INVARIANT: tools/record/native-log.ts has the same offsets.
struct header {
  uint32_t version;
  _Atomic uint32_t owner;    // the process that writes; 0 before there is one
  _Atomic uint32_t threads;  // that the running program has had so far
  _Atomic uint32_t error;    // why recording stopped: the errno of the log's growth
  uint64_t limit;            // records that there may be
  _Atomic uint64_t next;     // records claimed; beyond the limit those that were dropped
};

// What a record says: 0 is one that was claimed and not written.
enum operation {
  MALLOC = 1,
  FREE = 2,
  // Another thread may get the old block's address before realloc returns, so its start and its end are two records.
  REALLOC_BEGINS = 3,
  REALLOC_ENDS = 4,
  CALLOC = 5,
  // An exec has replaced the program, and all its blocks are gone.
  EXEC = 6,
};

struct record {
  // address << 16 | log2 of the alignment << 8 | operation. User space has 48 bits of addresses.
  _Atomic uint64_t what;
  // thread << 32 | size, at most 2^32 - 1, which is also a trace's largest.
  uint64_t size;
};

static struct header *header;
static struct record *_Atomic chunks[MOST_CHUNKS];
static char log_path[PATH_MAX];
static _Atomic int recording;

THREAD_LOCAL uint32_t own_thread;  // from 1; 0 until its first call
THREAD_LOCAL int depth;            // calls of the allocator that this thread is in: only the outermost is recorded

static struct {
  void *(*malloc)(size_t);
  void (*free)(void *);
  void *(*calloc)(size_t, size_t);
  void *(*realloc)(void *, size_t);
  int (*posix_memalign)(void **, size_t, size_t);
  void *(*aligned_alloc)(size_t, size_t);
  void *(*memalign)(size_t, size_t);
  void *(*valloc)(size_t);
  void *(*pvalloc)(size_t);
  size_t (*malloc_usable_size)(void *);
} real;

// Blocks for what is allocated while the real functions are looked up: dlsym itself may ask for some. They are never
// given back, and not recorded.
enum { EARLY_BYTES = 65536, EARLY_UNIT = 16 };
static _Alignas(EARLY_UNIT) char early[EARLY_BYTES];
static _Atomic size_t early_used;

static int is_early(const void *block) {
  return (uintptr_t)block >= (uintptr_t)early && (uintptr_t)block < (uintptr_t)early + EARLY_BYTES;
}

// The size is kept in the unit before the block.
static void *early_allocate(size_t size) {
  if (size > EARLY_BYTES) {
    errno = ENOMEM;
    return NULL;
  }
  size_t bytes = EARLY_UNIT + (size + EARLY_UNIT - 1) / EARLY_UNIT * EARLY_UNIT;
  size_t at = atomic_fetch_add(&early_used, bytes);
  if (at + bytes > EARLY_BYTES) {
    errno = ENOMEM;
    return NULL;
  }
  memcpy(early + at, &size, sizeof size);
  return early + at + EARLY_UNIT;
}

static size_t early_size(const void *block) {
  size_t size;
  memcpy(&size, (const char *)block - EARLY_UNIT, sizeof size);
  return size;
}

// Finds SPANHEAP_RECORD_LOG. `environ` isn't set yet when the loader calls malloc first, so the kernel is asked.
static int find_log_path(void) {
  static const char name[] = "SPANHEAP_RECORD_LOG=";
  int file = open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char piece[4096];
  size_t matched = 0, length = 0;
  int matches = 1;  // whether the variable that is being read has matched so far
  ssize_t got;
  while ((got = read(file, piece, sizeof piece)) > 0) {
    for (ssize_t i = 0; i < got; i++) {
      if (matches && matched == sizeof name - 1) {
        if (length == sizeof log_path) break;
        log_path[length++] = piece[i];
        if (piece[i] != '\0') continue;
        close(file);
        return 1;
      }
      if (piece[i] == '\0') {
        matched = 0;
        matches = 1;
      } else if (matches && piece[i] == name[matched]) {
        matched++;
      } else {
        matches = 0;
      }
    }
  }
  close(file);
  return 0;
}

// Maps a part of the log, having made sure of its space on the disk: a store to a page without any would end the
// program.
static void *map_log(size_t offset, size_t bytes, int *error) {
  void *mapped = MAP_FAILED;
  int file = open(log_path, O_RDWR | O_CLOEXEC);
  *error = file < 0 ? errno : posix_fallocate(file, (off_t)offset, (off_t)bytes);
  if (*error == 0) {
    mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, (off_t)offset);
    if (mapped == MAP_FAILED) *error = errno;
  }
  if (file >= 0) close(file);
  return mapped == MAP_FAILED ? NULL : mapped;
}

static struct record *map_chunk(size_t number) {
  const size_t bytes = CHUNK_RECORDS * sizeof(struct record);
  int saved = errno, error;
  struct record *chunk = map_log(HEADER_BYTES + number * bytes, bytes, &error);
  if (chunk == NULL) {
    atomic_store(&header->error, (uint32_t)error);
    atomic_store(&recording, 0);
  } else {
    struct record *other = NULL;
    if (!atomic_compare_exchange_strong(&chunks[number], &other, chunk)) {
      munmap(chunk, bytes);
      chunk = other;
    }
  }
  errno = saved;
  return chunk;
}

static uint32_t thread_number(void) {
  if (own_thread == 0) own_thread = atomic_fetch_add(&header->threads, 1) + 1;
  return own_thread - 1;
}

// Records are in the order of this one counter. REQUIRES: a block is claimed as allocated after the allocator has given
// it out, and as freed before the allocator gets it back: then each address is freed before it is allocated again.
static void append(enum operation operation, const void *address, size_t size, unsigned alignment_log2) {
  uint64_t at = atomic_fetch_add_explicit(&header->next, 1, memory_order_relaxed);
  if (at >= header->limit) {
    atomic_store(&recording, 0);
    return;
  }
  struct record *chunk = atomic_load_explicit(&chunks[at / CHUNK_RECORDS], memory_order_acquire);
  if (chunk == NULL) chunk = map_chunk(at / CHUNK_RECORDS);
  if (chunk == NULL) return;
  struct record *record = &chunk[at % CHUNK_RECORDS];
  record->size = (uint64_t)thread_number() << 32 | (size < UINT32_MAX ? size : UINT32_MAX);
  uint64_t what = (uint64_t)(uintptr_t)address << 16 | alignment_log2 << 8 | operation;
  atomic_store_explicit(&record->what, what, memory_order_release);
}

static void forget_in_child(void) { atomic_store(&recording, 0); }

static void start_recording(void) {
  int error;
  if (!find_log_path()) return;
  header = map_log(0, HEADER_BYTES, &error);
  if (header == NULL || header->version != VERSION) return;
  uint32_t owner = 0, self = (uint32_t)getpid();
  int isFirst = atomic_compare_exchange_strong(&header->owner, &owner, self);
  if (!isFirst && owner != self) return;
  if (pthread_atfork(NULL, NULL, forget_in_child) != 0) return;
  if (!isFirst) {
    atomic_store(&header->threads, 0);
    append(EXEC, NULL, 0, 0);
  }
  atomic_store(&recording, 1);
}

#define LOOK_UP(name) (*(void **)&real.name = dlsym(RTLD_NEXT, #name))

static void look_up(void) {
  LOOK_UP(malloc);
  LOOK_UP(free);
  LOOK_UP(calloc);
  LOOK_UP(realloc);
  LOOK_UP(posix_memalign);
  LOOK_UP(aligned_alloc);
  LOOK_UP(memalign);
  LOOK_UP(valloc);
  LOOK_UP(pvalloc);
  LOOK_UP(malloc_usable_size);
}

enum { NOT_STARTED, STARTING, READY };
static _Atomic int state;

static int start(void) {
  int expected = NOT_STARTED;
  if (!atomic_compare_exchange_strong(&state, &expected, STARTING)) return expected == READY;
  int saved = errno;
  look_up();
  start_recording();
  errno = saved;
  atomic_store_explicit(&state, READY, memory_order_release);
  return 1;
}

// False while the real functions are looked up.
static inline int ready(void) {
  return __builtin_expect(atomic_load_explicit(&state, memory_order_acquire) == READY, 1) || start();
}

// So that a program which never allocates has claimed its log as well.
__attribute__((constructor)) static void start_early(void) { start(); }

static inline int enter(void) { return depth++ == 0 && atomic_load_explicit(&recording, memory_order_relaxed); }

static inline void *leave(int isRecorded, enum operation operation, void *block, size_t size, unsigned alignment_log2) {
  if (isRecorded && block != NULL) append(operation, block, size, alignment_log2);
  depth--;
  return block;
}

static unsigned log2_of(size_t alignment) {
  unsigned log2 = 0;
  while (log2 < 47 && ((size_t)1 << log2) < alignment) log2++;
  return log2;
}

EXPORT void *malloc(size_t size) {
  if (!ready()) return early_allocate(size);
  int isRecorded = enter();
  return leave(isRecorded, MALLOC, real.malloc(size), size, 0);
}

EXPORT void free(void *block) {
  if (block == NULL || is_early(block) || !ready()) return;
  if (enter()) append(FREE, block, 0, 0);
  real.free(block);
  depth--;
}

EXPORT void *calloc(size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) {
    errno = ENOMEM;
    return NULL;
  }
  if (!ready()) return early_allocate(bytes);
  int isRecorded = enter();
  return leave(isRecorded, CALLOC, real.calloc(count, size), bytes, 0);
}

EXPORT void *realloc(void *block, size_t size) {
  if (block == NULL) return malloc(size);
  if (is_early(block)) {
    void *copy = malloc(size);
    size_t before = early_size(block);
    if (copy != NULL) memcpy(copy, block, before < size ? before : size);
    return copy;
  }
  if (!ready()) return NULL;
  int isRecorded = enter();
  if (isRecorded) append(REALLOC_BEGINS, block, 0, 0);
  void *moved = real.realloc(block, size);
  // Without a block the end says whether it was freed (a size of 0) or kept.
  if (isRecorded) append(REALLOC_ENDS, moved, size, 0);
  depth--;
  return moved;
}

EXPORT void *reallocarray(void *block, size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) {
    errno = ENOMEM;
    return NULL;
  }
  return realloc(block, bytes);
}

EXPORT int posix_memalign(void **block, size_t alignment, size_t size) {
  if (!ready()) return ENOMEM;
  int isRecorded = enter();
  int error = real.posix_memalign(block, alignment, size);
  leave(isRecorded, MALLOC, error == 0 ? *block : NULL, size, log2_of(alignment));
  return error;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size) {
  if (!ready()) return NULL;
  int isRecorded = enter();
  return leave(isRecorded, MALLOC, real.aligned_alloc(alignment, size), size, log2_of(alignment));
}

EXPORT void *memalign(size_t alignment, size_t size) {
  if (!ready()) return NULL;
  int isRecorded = enter();
  return leave(isRecorded, MALLOC, real.memalign(alignment, size), size, log2_of(alignment));
}

EXPORT void *valloc(size_t size) {
  if (!ready() || real.valloc == NULL) return NULL;
  int isRecorded = enter();
  return leave(isRecorded, MALLOC, real.valloc(size), size, log2_of((size_t)sysconf(_SC_PAGESIZE)));
}

EXPORT void *pvalloc(size_t size) {
  if (!ready() || real.pvalloc == NULL) return NULL;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  int isRecorded = enter();
  return leave(isRecorded, MALLOC, real.pvalloc(size), (size + page - 1) / page * page, log2_of(page));
}

EXPORT size_t malloc_usable_size(void *block) {
  if (is_early(block)) return early_size(block);
  return ready() ? real.malloc_usable_size(block) : 0;
}
