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

// One reservation. It is unmapped when its last owner lets go: a buffer that V8 still has, or a thread slot.
class Mapping {
 public:
  // Reserves `length` bytes at a multiple of `alignment`. If it is to be tight, gives back the remainder. Returns
  // nullptr and sets `error` if the system refuses.
  static std::shared_ptr<Mapping> Reserve(std::shared_ptr<Ledger> ledger, size_t length, size_t alignment,
                                          bool huge_pages, bool is_tight, int& error);
  // The mapping that starts at `base`, in whichever thread it was reserved; nullptr if it is gone.
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

  // Sets this heap's claim on a budget of `most` bytes, shared by all heaps that make claims, to `bytes`. False,
  // without effect, if that is more than it had and the budget lacks it. The claim ends with the mapping.
  bool Claim(size_t bytes, size_t most);

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
  char* const raw_;  // as the system gave it; base_ is the first aligned address in it
  const size_t raw_length_;
  char* const base_;
  const size_t length_;
  const bool huge_pages_;  // false: each part that grows asks for plain pages
  size_t claimed_ = 0;     // guarded by a mutex common to all mappings
  std::mutex mutex_;
  std::map<size_t, size_t> grown_;  // ends of grown ranges, by their starts, with gaps between; guarded by the mutex
  IsolatedBlocks isolated_;
};

// No mapping is unmapped from now on: the process ends, and V8 may still read memory that it holds.
void KeepMappingsFromNowOn();
bool AreMappingsKept();

// Releases memory that V8 has let go of.
void LetGoOfExpired();
// V8 may have garbage: a heap was opened or closed, or a block freed that V8 still holds.
void NoteGarbage();
// Counts an unmap.
void NoteUnmap();
// Makes V8 collect all that it can in this thread, and releases the memory that it held. Addresses are unmapped with
// the objects over them, and V8 doesn't know that they are worth a collection.
void CollectGarbage();
// The same if there may be new garbage since the last time; returns whether any addresses were unmapped.
bool CollectNewGarbage();

// A SharedArrayBuffer of a mapping's first bytes, which V8 neither charges for nor detaches; it holds the mapping until
// the last view of any thread is collected.
Napi::Value SharedBuffer(Napi::Env env, std::shared_ptr<Mapping> mapping, size_t length);
// An ArrayBuffer over memory, or a part of it, with V8's empty deleter: V8 doesn't charge for it (for Node-API's own
// external ArrayBuffer it would, in full). It holds the memory until V8 has let go of the bytes, even if a program has
// moved them to another ArrayBuffer.
Napi::Value HoldingBuffer(Napi::Env env, std::shared_ptr<void> memory, char* address, size_t length);
// Called when the environment ends: V8 makes no callbacks for its objects any more.
void LetGoAtEnd(napi_env env);
// Keeps V8 from detaching an ArrayBuffer, on Node 20 and 22; later versions refuse to detach one that is marked
// untransferable.
void ForbidDetach(const Napi::Value& buffer);
// The address of a SharedArrayBuffer's bytes; nullptr for anything else.
const void* BaseOf(const Napi::Value& buffer);
}  // namespace spanheap

#endif  // SPANHEAP_MAPPING_H_
