#include "system.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

namespace spanheap::system {

namespace {

uint64_t Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
}

// Runs `body`, which returns an errno and sets `address`, and records it.
template <typename Body>
int Recorded(Ledger& ledger, Call call, char*& address, size_t length, Body body) {
  const bool timed = ledger.timed();
  const uint64_t start = timed ? Now() : 0;
  const int error = body();
  const uint64_t elapsed = timed ? Now() - start : 0;
  ledger.Record({call, reinterpret_cast<uint64_t>(address), length, elapsed, error});
  return error;
}

Mapped MapAnywhere(Ledger& ledger, size_t length, int protection, int flags) {
  char* address = nullptr;
  const int error = Recorded(ledger, Call::kMmap, address, length, [&] {
    void* mapped = mmap(nullptr, length, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    if (mapped == MAP_FAILED) return errno;
    address = static_cast<char*>(mapped);
    return 0;
  });
  return {address, error};
}

int MapFixed(Ledger& ledger, char* address, size_t length) {
  return Recorded(ledger, Call::kMmap, address, length, [&] {
    void* mapped = mmap(address, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    return mapped == MAP_FAILED ? errno : 0;
  });
}

}  // namespace

size_t PageSize() {
  static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

Mapped Reserve(Ledger& ledger, size_t length) {
  // Read-only, since a writable reservation is charged in full under vm.overcommit_memory=2, NORESERVE or not.
  return MapAnywhere(ledger, length, PROT_READ, MAP_NORESERVE);
}

int Grow(Ledger& ledger, char* address, size_t length) { return MapFixed(ledger, address, length); }

Mapped Map(Ledger& ledger, size_t length) { return MapAnywhere(ledger, length, PROT_READ | PROT_WRITE, 0); }

int Release(Ledger& ledger, char* address, size_t length) {
#if defined(__APPLE__)
  // Darwin's MADV_DONTNEED is only advice: pages stay and keep their contents. A fresh mapping in their place surely
  // gives them back, in one atomic step, and reads as zeros.
  return MapFixed(ledger, address, length);
#else
  return Recorded(ledger, Call::kMadvise, address, length,
                  [&] { return madvise(address, length, MADV_DONTNEED) == 0 ? 0 : errno; });
#endif
}

void AvoidHugePages(Ledger& ledger, char* address, size_t length) {
#if defined(__linux__)
  // Only advice: if a kernel without huge pages or a sandbox refuses it, the memory is just as good.
  Recorded(ledger, Call::kMadvise, address, length,
           [&] { return madvise(address, length, MADV_NOHUGEPAGE) == 0 ? 0 : errno; });
#else
  (void)ledger, (void)address, (void)length;
#endif
}

int Unmap(Ledger& ledger, char* address, size_t length) {
  return Recorded(ledger, Call::kMunmap, address, length, [&] { return munmap(address, length) == 0 ? 0 : errno; });
}

}  // namespace spanheap::system
