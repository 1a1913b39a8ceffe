// Reservations of address space and the JavaScript buffers over them.
#ifndef SPANHEAP_MAPPING_H_
#define SPANHEAP_MAPPING_H_

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>

#include "isolated.h"
#include "ledger.h"
#include "napi_headers.h"

namespace spanheap {

// One reservation. It is unmapped when its last owner lets go: a buffer that V8 still knows, or a thread slot.
class Mapping {
 public:
  // Reserves `length` bytes at a multiple of `alignment`. Returns nullptr and sets `error` where the system refuses.
  static std::shared_ptr<Mapping> Reserve(std::shared_ptr<Ledger> ledger, size_t length, size_t alignment,
                                          bool huge_pages, int& error);
  // The mapping that starts at `base`, in whichever thread it was reserved; nullptr where there is none any more.
  static std::shared_ptr<Mapping> At(const void* base);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  char* base() const { return base_; }
  size_t length() const { return length_; }
  const std::shared_ptr<Ledger>& ledger() const { return ledger_; }
  bool Contains(size_t offset, size_t length) const;
  // Whether all of a range has grown, and so can be written.
  bool IsGrown(size_t offset, size_t length);

  int Grow(size_t offset, size_t length);     // returns errno
  int Release(size_t offset, size_t length);  // returns errno

  IsolatedBlocks& isolated() { return isolated_; }

 private:
  Mapping(std::shared_ptr<Ledger> ledger, char* raw, size_t raw_length, char* base, size_t length, bool huge_pages)
      : ledger_(std::move(ledger)),
        raw_(raw),
        raw_length_(raw_length),
        base_(base),
        length_(length),
        huge_pages_(huge_pages) {}

  const std::shared_ptr<Ledger> ledger_;
  char* const raw_;  // what the system gave; base_ is the first aligned address in it
  const size_t raw_length_;
  char* const base_;
  const size_t length_;
  const bool huge_pages_;  // false: every part that grows is asked to come in plain pages
  std::mutex mutex_;
  std::map<size_t, size_t> grown_;  // the ends of what has grown, by starts, with gaps between; guarded by the mutex
  IsolatedBlocks isolated_;
};

// From now on no mapping is unmapped any more: the process ends, and V8 may still read what it holds.
void KeepMappingsFromNowOn();

// A SharedArrayBuffer of a mapping's first bytes, which V8 neither charges for nor detaches; it holds the mapping until
// the last view of any thread is collected.
Napi::Value SharedBuffer(Napi::Env env, std::shared_ptr<Mapping> mapping, size_t length);
// One more ArrayBuffer over the same memory or a part of it, with V8's empty deleter: V8 doesn't charge for it (for
// Node-API's own external ArrayBuffer it would, in full). It holds the mapping until V8 has let go of the memory, also
// where a program has moved that to another ArrayBuffer.
Napi::Value UnsharedBuffer(Napi::Env env, std::shared_ptr<Mapping> mapping, size_t offset, size_t length);
// Keeps V8 from detaching an ArrayBuffer, on Node 20 and 22; later versions refuse for what is marked untransferable.
void ForbidDetach(const Napi::Value& buffer);
// Where the bytes of a SharedArrayBuffer are; nullptr for anything else.
const void* BaseOf(const Napi::Value& buffer);
// An ArrayBuffer over memory that somebody else unmaps, after having detached it.
Napi::Value BorrowedBuffer(Napi::Env env, char* address, size_t length);

}  // namespace spanheap

#endif  // SPANHEAP_MAPPING_H_
