// Isolated blocks: each in an ArrayBuffer of its own, which V8 frees when nothing needs it any more.
#ifndef SPANHEAP_ISOLATED_H_
#define SPANHEAP_ISOLATED_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "napi_headers.h"

namespace spanheap {

class Mapping;

// The states of an isolated block, as lib/tcmalloc/object-state.ts has them: while V8 holds its memory, and from when a
// thread has taken it off the list of those that V8 has let go of until that thread has freed it.
enum IsolatedState : int8_t { kIsolated = -7, kCollected = -8 };

// A block that is isolated, for V8's deleter. In one of the two lists of its mapping's IsolatedBlocks.
struct IsolatedBlock {
  std::shared_ptr<Mapping> memory;  // until V8 lets go: then the mapping holds the block, and not the other way round
  std::shared_ptr<Mapping> tables;  // where `state` and `flag` are
  size_t offset;
  size_t length;
  int8_t* state;
  uint32_t* flag;
  IsolatedBlock* previous = nullptr;
  IsolatedBlock* next = nullptr;
};

// The isolated blocks of one mapping. V8's deleters run in any thread: its sweepers', that of a worker that ends, that
// of a thread which the buffer was transferred to. So they only move the block from one list to another; the threads
// that use the heap come by and free it.
class IsolatedBlocks {
 public:
  IsolatedBlocks() = default;
  IsolatedBlocks(const IsolatedBlocks&) = delete;
  IsolatedBlocks& operator=(const IsolatedBlocks&) = delete;
  ~IsolatedBlocks();

  // V8 holds the block from now on, whose state says so.
  void Add(IsolatedBlock* block);
  // V8 has let go of it: it waits to be taken, and the word at its `flag` is 1 while any block does. If the heap is
  // closed, nobody would take it, and it is left with the caller.
  void Collect(std::unique_ptr<IsolatedBlock>& block);
  // Takes one of those that V8 has let go of: its state becomes kCollected, and its granule is written to `note`, so
  // that whoever takes it may be ended before it is freed. Where the note isn't 0, it is that one again. Returns 0 if
  // there is none.
  uint32_t Take(uint32_t* note);
  // The heap is closed: nobody takes blocks any more. Returns where those are that V8 still holds, as offsets and
  // lengths.
  std::vector<std::pair<size_t, size_t>> Close();

 private:
  void Unlink(IsolatedBlock*& list, IsolatedBlock* block);

  std::mutex mutex_;  // guards all that follows, and the words that blocks point to
  IsolatedBlock* held_ = nullptr;
  IsolatedBlock* collected_ = nullptr;
  bool is_closed_ = false;
};

void ExportIsolated(Napi::Env env, Napi::Object exports);

}  // namespace spanheap

#endif  // SPANHEAP_ISOLATED_H_
