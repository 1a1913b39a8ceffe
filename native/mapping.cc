#include "mapping.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "system.h"
#include "v8_values.h"

namespace spanheap {

namespace {

std::atomic<bool> keep_mappings{false};

std::shared_ptr<v8::BackingStore> EmptyStore(char* address, size_t length) {
  return v8::ArrayBuffer::NewBackingStore(address, length, v8::BackingStore::EmptyDeleter, nullptr);
}

// A mapping one of whose ArrayBuffers is gone. V8's store may outlive that object: the sweeper runs later, and a
// program may have transferred the buffer, which moves the store to another one.
struct Unowned {
  std::shared_ptr<Mapping> mapping;
  std::weak_ptr<v8::BackingStore> store;
};

// Every mapping by its base, so that another thread can find the one under a buffer that it was sent.
std::mutex mappings_mutex;
std::map<const void*, std::weak_ptr<Mapping>> mappings;  // guarded by the mutex

std::mutex unowned_mutex;
std::vector<std::unique_ptr<Unowned>> unowned;  // waits for its store to go; guarded by the mutex

// Unmaps what V8 has let go of.
void UnmapExpired() {
  std::lock_guard<std::mutex> lock(unowned_mutex);
  unowned.erase(std::remove_if(unowned.begin(), unowned.end(),
                               [](const std::unique_ptr<Unowned>& held) { return held->store.expired(); }),
                unowned.end());
}

void UnmapLater(Unowned* held) {
  {
    std::lock_guard<std::mutex> lock(unowned_mutex);
    unowned.emplace_back(held);
  }
  UnmapExpired();
}

}  // namespace

void KeepMappingsFromNowOn() { keep_mappings = true; }

std::shared_ptr<Mapping> Mapping::Reserve(std::shared_ptr<Ledger> ledger, size_t length, size_t alignment,
                                          bool huge_pages, int& error) {
  // A page on either side that never grows keeps the kernel from merging this mapping with a neighbour, so that its
  // resident size can be told. What the alignment leaves over stays reserved: it costs nothing, a trim two calls.
  UnmapExpired();
  const size_t guard = system::PageSize();
  const size_t raw_length = guard + (alignment > guard ? alignment : guard) + length + guard;
  const system::Mapped mapped = system::Reserve(*ledger, raw_length);
  error = mapped.error;
  if (mapped.address == nullptr) return nullptr;
  const uintptr_t first = reinterpret_cast<uintptr_t>(mapped.address) + guard;
  char* base = mapped.address + guard + (alignment - first % alignment) % alignment;
  std::shared_ptr<Mapping> mapping(
      new Mapping(std::move(ledger), mapped.address, raw_length, base, length, huge_pages));
  std::lock_guard<std::mutex> lock(mappings_mutex);
  mappings[base] = mapping;
  return mapping;
}

std::shared_ptr<Mapping> Mapping::At(const void* base) {
  std::lock_guard<std::mutex> lock(mappings_mutex);
  const auto found = mappings.find(base);
  return found == mappings.end() ? nullptr : found->second.lock();
}

Mapping::~Mapping() {
  {
    // Before the addresses go: whoever gets them next puts a mapping of their own here.
    std::lock_guard<std::mutex> lock(mappings_mutex);
    mappings.erase(base_);
  }
  if (!keep_mappings) system::Unmap(*ledger_, raw_, raw_length_);
}

bool Mapping::Contains(size_t offset, size_t length) const {
  return length > 0 && offset <= length_ && length <= length_ - offset;
}

bool Mapping::IsGrown(size_t offset, size_t length) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto range = grown_.upper_bound(offset);
  if (range == grown_.begin()) return false;
  --range;
  return offset <= range->second && length <= range->second - offset;
}

int Mapping::Grow(size_t offset, size_t length) {
  const int error = system::Grow(*ledger_, base_ + offset, length);
  if (error != 0) return error;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    size_t start = offset;
    size_t end = offset + length;
    auto range = grown_.upper_bound(start);
    if (range != grown_.begin() && std::prev(range)->second >= start) start = (--range)->first;
    for (; range != grown_.end() && range->first <= end; range = grown_.erase(range))
      end = std::max(end, range->second);
    grown_[start] = end;
  }
  if (!huge_pages_) system::AvoidHugePages(*ledger_, base_ + offset, length);
  return 0;
}

int Mapping::Release(size_t offset, size_t length) { return system::Release(*ledger_, base_ + offset, length); }

Napi::Value SharedBuffer(Napi::Env env, std::shared_ptr<Mapping> mapping, size_t length) {
  char* base = mapping->base();
  auto* owner = new std::shared_ptr<Mapping>(std::move(mapping));
  std::shared_ptr<v8::BackingStore> store = v8::SharedArrayBuffer::NewBackingStore(
      base, length, [](void*, size_t, void* held) { delete static_cast<std::shared_ptr<Mapping>*>(held); }, owner);
  return Napi::Value(env, ToNapi(v8::SharedArrayBuffer::New(v8::Isolate::GetCurrent(), std::move(store))));
}

Napi::Value UnsharedBuffer(Napi::Env env, std::shared_ptr<Mapping> mapping, size_t offset, size_t length) {
  std::shared_ptr<v8::BackingStore> store = EmptyStore(mapping->base() + offset, length);
  auto* held = new Unowned{std::move(mapping), store};
  Napi::Value buffer(env, ToNapi(v8::ArrayBuffer::New(v8::Isolate::GetCurrent(), std::move(store))));
  // Native work in flight (a read from a file, say) holds the buffer object. So the address space goes when the object
  // is collected, and not before.
  buffer.As<Napi::Object>().AddFinalizer([](Napi::Env, Unowned* held) { UnmapLater(held); }, held);
  return buffer;
}

// Makes V8 refuse to detach an ArrayBuffer, as it refuses for that of a WebAssembly.Memory. On Node 20 and 22 the mark
// that Node has for this doesn't keep byte streams and ArrayBuffer.prototype.transfer from it, and a BYOB reader that
// has taken it ends the process if the view lies above 4 GiB. V8 has no function for this. So this clears its flag in
// the object, after it has made sure that the words around it are what they are in these two versions, whose V8 doesn't
// change any more; where they aren't, the buffer stays as it was.
void ForbidDetach(const Napi::Value& value) {
#if (NODE_MODULE_VERSION == 115 || NODE_MODULE_VERSION == 127) && !defined(V8_COMPRESS_POINTERS)
  struct Words {
    uintptr_t map, properties, elements, detach_key;
    size_t length, most_length;
    void* data;
    void* extension;
    uint32_t flags;
  };
  constexpr uint32_t kExternal = 1;
  constexpr uint32_t kDetachable = 2;
  const v8::Local<v8::Value> local = ToV8(value);
  if (!local->IsArrayBuffer()) return;
  const auto buffer = local.As<v8::ArrayBuffer>();
  uintptr_t tagged;
  std::memcpy(&tagged, reinterpret_cast<const void*>(*buffer), sizeof tagged);
  auto* words = reinterpret_cast<Words*>(tagged - 1);
  if (words->length != buffer->ByteLength() || words->most_length != words->length || words->data != buffer->Data() ||
      (words->flags & ~kExternal) != kDetachable)
    return;
  words->flags &= ~kDetachable;
  if (buffer->IsDetachable()) words->flags |= kDetachable;
#endif
}

const void* BaseOf(const Napi::Value& buffer) {
  const v8::Local<v8::Value> local = ToV8(buffer);
  return local->IsSharedArrayBuffer() ? local.As<v8::SharedArrayBuffer>()->Data() : nullptr;
}

Napi::Value BorrowedBuffer(Napi::Env env, char* address, size_t length) {
  return Napi::Value(env, ToNapi(v8::ArrayBuffer::New(v8::Isolate::GetCurrent(), EmptyStore(address, length))));
}

}  // namespace spanheap
