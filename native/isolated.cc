#include "isolated.h"

#include <algorithm>
#include <cerrno>

#include "arguments.h"
#include "mapping.h"
#include "system.h"
#include "v8_values.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(start, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(start, bytes)
#endif

namespace spanheap {

namespace {

// Bytes of a granule: the unit of addresses. Each granule has a state.
constexpr size_t kGranuleBytes = 16;
// The results of `offsetIn` that aren't offsets.
constexpr double kElsewhere = -1;
constexpr double kDetached = -2;

void Prepend(IsolatedBlock*& list, IsolatedBlock* block) {
  block->previous = nullptr;
  block->next = list;
  if (list != nullptr) list->previous = block;
  list = block;
}

size_t RoundUp(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

// Gives back the system pages that lie entirely in [start, end). Returns errno.
int ReleasePages(Mapping& memory, size_t start, size_t end) {
  const size_t page = system::PageSize();
  const size_t first = RoundUp(start, page);
  const size_t last = end / page * page;
  return first < last ? memory.Release(first, last - first) : 0;
}

// V8's deleter: its last reference to the block's bytes is gone.
void LetGo(void*, size_t, void* data) {
  std::unique_ptr<IsolatedBlock> block(static_cast<IsolatedBlock*>(data));
  // Held here, or the mapping might be unmapped while the block is put on its list.
  const std::shared_ptr<Mapping> memory = std::move(block->memory);
  // AddressSanitizer then reports any native code that still reads or writes there: scripts/isolated-asan.mjs.
  ASAN_POISON_MEMORY_REGION(memory->base() + block->offset, block->length);
  memory->isolated().Collect(block);
  // The heap is closed: these pages won't be used again, and other blocks may keep the mapping for long.
  if (block != nullptr && memory.use_count() > 1) ReleasePages(*memory, block->offset, block->offset + block->length);
}

// isolate(memory, offset, length, tables, state, flag): an ArrayBuffer of just the bytes at an offset. `state` is the
// offset in the tables of the block's state, `flag` that of the word that says whether blocks wait to be taken.
Napi::Value Isolate(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments arguments(info);
  auto memory = arguments.Held<Mapping>(0);
  const size_t offset = arguments.Size(1);
  const size_t length = arguments.Size(2);
  auto tables = arguments.Held<Mapping>(3);
  const size_t state = arguments.Size(4);
  const size_t flag = arguments.Size(5);
  // A block of length 0 has a granule too.
  if (!arguments.wrong() && (offset % kGranuleBytes != 0 || !memory->IsGrown(offset, std::max<size_t>(length, 1))))
    arguments.Refuse<size_t>(1, "where a block is");
  if (!arguments.wrong() && !tables->IsGrown(state, 1)) arguments.Refuse<size_t>(4, "where its state is");
  if (!arguments.wrong() && (flag % sizeof(uint32_t) != 0 || !tables->IsGrown(flag, sizeof(uint32_t))))
    arguments.Refuse<size_t>(5, "where a word is");
  if (arguments.wrong()) return env.Undefined();
  char* bytes = memory->base() + offset;
  auto* block = new IsolatedBlock{memory,
                                  tables,
                                  offset,
                                  length,
                                  reinterpret_cast<int8_t*>(tables->base() + state),
                                  reinterpret_cast<uint32_t*>(tables->base() + flag)};
  ASAN_UNPOISON_MEMORY_REGION(bytes, length);
  memory->isolated().Add(block);
  std::unique_ptr<v8::BackingStore> store = v8::ArrayBuffer::NewBackingStore(bytes, length, LetGo, block);
  return Napi::Value(env, ToNapi(v8::ArrayBuffer::New(v8::Isolate::GetCurrent(), std::move(store))));
}

// takeCollected(memory, tables, note): the granule of a block that V8 has let go of, or 0. `note` is the offset in the
// tables of the word that records it.
Napi::Value TakeCollected(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto memory = arguments.Held<Mapping>(0);
  const auto tables = arguments.Held<Mapping>(1);
  const size_t note = arguments.Size(2);
  if (!arguments.wrong() && (note % sizeof(uint32_t) != 0 || !tables->IsGrown(note, sizeof(uint32_t))))
    arguments.Refuse<size_t>(2, "where a word is");
  if (arguments.wrong()) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), memory->isolated().Take(reinterpret_cast<uint32_t*>(tables->base() + note)));
}

// offsetIn(memory, buffer): the offset in a mapping of an ArrayBuffer's bytes; -1 if they are elsewhere, -2 if it was
// detached.
Napi::Value OffsetIn(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto memory = arguments.Held<Mapping>(0);
  if (arguments.wrong()) return info.Env().Undefined();
  double offset = kElsewhere;
  const v8::Local<v8::Value> value = ToV8(info[1]);
  if (value->IsArrayBuffer()) {
    const auto buffer = value.As<v8::ArrayBuffer>();
    // On Node 20 the data of all buffers of length 0 has the same address; their stores have the right one.
    const void* bytes = buffer->ByteLength() > 0 ? buffer->Data() : buffer->GetBackingStore()->Data();
    const auto address = reinterpret_cast<uintptr_t>(bytes);
    const auto base = reinterpret_cast<uintptr_t>(memory->base());
    if (buffer->WasDetached()) {
      offset = kDetached;
    } else if (address >= base && address - base < memory->length()) {
      offset = static_cast<double>(address - base);
    }
  }
  return Napi::Number::New(info.Env(), offset);
}

// detach(buffer): makes every view of it have length 0. False if it can't be detached: it has a key, by which Node 24
// and 26 mark untransferable buffers, or it is WebAssembly's. (Node-API's own detach would end the process.)
Napi::Value Detach(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const v8::Local<v8::Value> value = ToV8(info[0]);
  if (!value->IsArrayBuffer()) arguments.Refuse<bool>(0, "an ArrayBuffer");
  if (arguments.wrong()) return info.Env().Undefined();
  const auto buffer = value.As<v8::ArrayBuffer>();
  const v8::TryCatch refusal(v8::Isolate::GetCurrent());
  return Napi::Boolean::New(info.Env(),
                            buffer->IsDetachable() && buffer->Detach(v8::Local<v8::Value>()).FromMaybe(false));
}

// releaseRest(memory, offset, length): gives back all pages of a range except those of isolated blocks that V8 still
// holds. Marks the heap as closed. errno.
Napi::Value ReleaseRest(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto memory = arguments.Held<Mapping>(0);
  const size_t offset = arguments.Size(1);
  const size_t length = arguments.Size(2);
  if (arguments.wrong()) return info.Env().Undefined();
  if (!memory->Contains(offset, length)) return Napi::Number::New(info.Env(), EINVAL);
  memory->Claim(0, 0);
  NoteGarbage();
  std::vector<std::pair<size_t, size_t>> held = memory->isolated().Close();
  std::sort(held.begin(), held.end());
  int error = 0;
  size_t start = offset;
  for (const auto& [at, bytes] : held) {
    if (const int refused = ReleasePages(*memory, start, std::min(at, offset + length)); refused != 0) error = refused;
    start = std::max(start, at + bytes);
  }
  if (const int refused = ReleasePages(*memory, start, offset + length); refused != 0) error = refused;
  return Napi::Number::New(info.Env(), error);
}

}  // namespace

IsolatedBlocks::~IsolatedBlocks() { Close(); }

void IsolatedBlocks::Add(IsolatedBlock* block) {
  std::lock_guard<std::mutex> lock(mutex_);
  Prepend(held_, block);
  __atomic_store_n(block->state, kIsolated, __ATOMIC_SEQ_CST);
}

void IsolatedBlocks::Collect(std::unique_ptr<IsolatedBlock>& block) {
  std::lock_guard<std::mutex> lock(mutex_);
  Unlink(held_, block.get());
  if (is_closed_) return;
  if (collected_ == nullptr) __atomic_store_n(block->flag, 1, __ATOMIC_SEQ_CST);
  Prepend(collected_, block.release());
}

uint32_t IsolatedBlocks::Take(uint32_t* note) {
  const uint32_t noted = __atomic_load_n(note, __ATOMIC_SEQ_CST);
  if (noted != 0) return noted;
  std::lock_guard<std::mutex> lock(mutex_);
  const std::unique_ptr<IsolatedBlock> block(collected_);
  if (block == nullptr) return 0;
  Unlink(collected_, block.get());
  if (collected_ == nullptr) __atomic_store_n(block->flag, 0, __ATOMIC_SEQ_CST);
  const auto granule = static_cast<uint32_t>(block->offset / kGranuleBytes);
  __atomic_store_n(block->state, kCollected, __ATOMIC_SEQ_CST);
  __atomic_store_n(note, granule, __ATOMIC_SEQ_CST);
  return granule;
}

std::vector<std::pair<size_t, size_t>> IsolatedBlocks::Close() {
  std::vector<std::pair<size_t, size_t>> held;
  std::lock_guard<std::mutex> lock(mutex_);
  is_closed_ = true;
  while (collected_ != nullptr) {
    const std::unique_ptr<IsolatedBlock> block(collected_);
    collected_ = block->next;
  }
  for (const IsolatedBlock* block = held_; block != nullptr; block = block->next)
    held.emplace_back(block->offset, block->length);
  return held;
}

void IsolatedBlocks::Unlink(IsolatedBlock*& list, IsolatedBlock* block) {
  if (block->next != nullptr) block->next->previous = block->previous;
  (block->previous != nullptr ? block->previous->next : list) = block->next;
}

void ExportIsolated(Napi::Env env, Napi::Object exports) {
  exports.Set("isolate", Napi::Function::New(env, Isolate, "isolate"));
  exports.Set("takeCollected", Napi::Function::New(env, TakeCollected, "takeCollected"));
  exports.Set("offsetIn", Napi::Function::New(env, OffsetIn, "offsetIn"));
  exports.Set("detach", Napi::Function::New(env, Detach, "detach"));
  exports.Set("releaseRest", Napi::Function::New(env, ReleaseRest, "releaseRest"));
}

}  // namespace spanheap
