#include "ledger.h"

#include <cerrno>
#include <cinttypes>

namespace spanheap {

const char* NameOf(Call call) {
  switch (call) {
    case Call::kMmap:
      return "mmap";
    case Call::kMunmap:
      return "munmap";
    case Call::kMadvise:
      return "madvise";
  }
  return "";
}

Ledger::~Ledger() {
  if (file_ != nullptr) std::fclose(file_);
}

void Ledger::KeepRing(size_t capacity) {
  std::lock_guard<std::mutex> lock(mutex_);
  ring_.clear();
  capacity_ = capacity;
  oldest_ = 0;
  timed_ = capacity_ > 0 || file_ != nullptr;
}

int Ledger::WriteTo(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::FILE* file = std::fopen(path.c_str(), "we");
  if (file == nullptr) return errno;
  if (file_ != nullptr) std::fclose(file_);
  file_ = file;
  timed_ = true;
  return 0;
}

void Ledger::FlushFile() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (file_ != nullptr) std::fflush(file_);
}

void Ledger::Record(const Entry& entry) {
  if (entry.error == 0) {
    succeeded_[static_cast<size_t>(entry.call)].fetch_add(1, std::memory_order_relaxed);
  } else {
    failed_.fetch_add(1, std::memory_order_relaxed);
  }
  if (!timed()) return;
  std::lock_guard<std::mutex> lock(mutex_);
  if (file_ != nullptr) {
    std::fprintf(file_, "{\"call\":\"%s\",\"address\":\"0x%" PRIx64 "\",\"length\":%" PRIu64 ",\"ns\":%" PRIu64,
                 NameOf(entry.call), entry.address, entry.length, entry.nanoseconds);
    if (entry.error != 0) std::fprintf(file_, ",\"errno\":%d", entry.error);
    std::fputs("}\n", file_);
  }
  if (ring_.size() < capacity_) {
    ring_.push_back(entry);
  } else if (capacity_ > 0) {
    ring_[oldest_] = entry;
    oldest_ = (oldest_ + 1) % capacity_;
  }
}

std::vector<Entry> Ledger::Ring() {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<Entry> ordered;
  ordered.reserve(ring_.size());
  for (size_t i = 0; i < ring_.size(); i++) ordered.push_back(ring_[(oldest_ + i) % ring_.size()]);
  return ordered;
}

}  // namespace spanheap
