// The ledger: the library's calls of the operating system.
//
// One ledger serves one heap. Counters are always kept; a bounded ring of the newest calls, or a file of all calls,
// only on request. Any thread may record: V8 runs deleters on threads of its own.
#ifndef SPANHEAP_LEDGER_H_
#define SPANHEAP_LEDGER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <string>
#include <vector>

namespace spanheap {

enum class Call : uint8_t { kMmap, kMunmap, kMadvise };
constexpr size_t kCallKinds = 3;

const char* NameOf(Call call);

struct Entry {
  Call call;
  uint64_t address;      // as the system sees it; 0 for a reservation that failed
  uint64_t length;       // bytes
  uint64_t nanoseconds;  // 0 unless a ring or a file was asked for: counting alone reads no clock
  int error;             // errno, 0 when the call succeeded
};

class Ledger {
 public:
  Ledger() = default;
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  // Keeps the newest `capacity` entries from now on.
  void KeepRing(size_t capacity);
  // Writes each entry to `path` from now on; returns errno.
  int WriteTo(const std::string& path);
  // Writes buffered entries to the file, if there is one. It stays open: the unmap that ends a mapping is yet to come.
  void FlushFile();

  bool timed() const { return timed_.load(std::memory_order_relaxed); }
  void Record(const Entry& entry);

  uint64_t succeeded(Call call) const { return succeeded_[static_cast<size_t>(call)].load(); }
  uint64_t failed() const { return failed_.load(); }
  std::vector<Entry> Ring();  // oldest first

  // Bytes of the mappings that are single blocks: direct.cc.
  std::atomic<size_t> direct_bytes{0};

 private:
  std::atomic<uint64_t> succeeded_[kCallKinds] = {};
  std::atomic<uint64_t> failed_{0};
  std::atomic<bool> timed_{false};
  std::mutex mutex_;         // guards the members below
  std::vector<Entry> ring_;  // never longer than capacity_
  size_t capacity_ = 0;
  size_t oldest_ = 0;  // index of the oldest entry once the ring is full
  std::FILE* file_ = nullptr;
};

}  // namespace spanheap

#endif  // SPANHEAP_LEDGER_H_
