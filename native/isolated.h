// Isolated blocks: each in an ArrayBuffer of its own, which V8 frees once nothing needs it.
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

// The states of an isolated block, as in lib/tcmalloc/object-state.ts: kIsolated while V8 holds its memory or it waits
// to be taken, kCollected from when a thread has taken it until it is freed.
enum IsolatedState : int8_t { kIsolated = -7, kCollected = -8 };

// An isolated block, for V8's deleter. It is in one of the two lists of its mapping's IsolatedBlocks.
struct IsolatedBlock {
  std::shared_ptr<Mapping> memory;  // until V8 lets go: after that the mapping holds the block instead
  std::shared_ptr<Mapping> tables;  // contains `state` and `flag`
  size_t offset;
  size_t length;
  int8_t* state;
  uint32_t* flag;
  IsolatedBlock* previous = nullptr;
  IsolatedBlock* next = nullptr;
};

// The isolated blocks of one mapping. V8's deleters run in any thread: a sweeper, a worker that ends, a thread to which
// the buffer was transferred. So they only move the block from one list to another; threads that use the heap free it
// later.
class IsolatedBlocks {
 public:
  IsolatedBlocks() = default;
  IsolatedBlocks(const IsolatedBlocks&) = delete;
  IsolatedBlocks& operator=(const IsolatedBlocks&) = delete;
  ~IsolatedBlocks();

  // Marks the block as isolated: V8 holds it from now on.
  void Add(IsolatedBlock* block);
  // V8 has let go of the block: it waits to be taken, and the word at its `flag` is 1 while any block waits. If the
  // heap is closed, no thread would take it, so it is left with the caller.
  void Collect(std::unique_ptr<IsolatedBlock>& block);
  // Takes a block that V8 has let go of: its state becomes kCollected, and its granule is written to `note`, so that it
  // isn't lost if the thread is ended before it frees the block. If the note isn't 0, returns that block again. Returns
  // 0 if there is none.
  uint32_t Take(uint32_t* note);
  // The heap is closed: no blocks are taken any more. Returns the offsets and lengths of the blocks that V8 still
  // holds.
  std::vector<std::pair<size_t, size_t>> Close();

 private:
  void Unlink(IsolatedBlock*& list, IsolatedBlock* block);

  std::mutex mutex_;  // guards all members below, and the words that blocks point to
  IsolatedBlock* held_ = nullptr;
  IsolatedBlock* collected_ = nullptr;
  bool is_closed_ = false;
};

void ExportIsolated(Napi::Env env, Napi::Object exports);

}  // namespace spanheap

#endif  // SPANHEAP_ISOLATED_H_
