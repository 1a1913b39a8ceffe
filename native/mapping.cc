#include "mapping.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <iterator>
#include <map>
#include <mutex>
#include <unordered_set>
#include <utility>
#include <vector>

#include "system.h"
#include "v8_values.h"

namespace spanheap {

namespace {

std::atomic<bool> keep_mappings{false};

// Every mapping by its base, so that a thread can find the mapping under a buffer that another has sent. Like the list
// below it is never destroyed: the process may end while other threads run, and the kernel unmaps everything then.
std::mutex mappings_mutex;
auto& mappings = *new std::map<const void*, std::weak_ptr<Mapping>>;  // guarded by the mutex

// The memory that an ArrayBuffer holds. We wait for the ArrayBuffer object first, since native work in flight (a read
// from a file, say) holds it. Then we wait for V8's store: the sweeper runs later, and the program may have transferred
// the buffer, which moves the store to another object.
struct Held {
  std::shared_ptr<void> memory;
  std::weak_ptr<v8::BackingStore> store;
  v8::Global<v8::ArrayBuffer> buffer;
  napi_env env;
};

// This thread's entries whose object is still there.
thread_local std::unordered_set<Held*> held_objects;

std::mutex unowned_mutex;
auto& unowned = *new std::vector<std::unique_ptr<Held>>;  // waits for its store to go; guarded by the mutex

// Releases what a worker's V8 held: the worker's thread ends after its isolate, and nothing else may come along then.
struct ThreadEnd {
  ~ThreadEnd() { LetGoOfExpired(); }
};

void ObjectIsGone(Held* held) {
  held_objects.erase(held);
  std::lock_guard<std::mutex> lock(unowned_mutex);
  unowned.emplace_back(held);
}

// V8's own weak callback, since a Node-API finalizer would wait for a turn of the event loop. It does everything in the
// first pass, so that no call is pending once the environment has ended.
void Collected(const v8::WeakCallbackInfo<Held>& info) {
  info.GetParameter()->buffer.Reset();
  ObjectIsGone(info.GetParameter());
  LetGoOfExpired();
}

size_t CountMappings() {
  std::lock_guard<std::mutex> lock(mappings_mutex);
  return mappings.size();
}

// The least number of mappings before V8 is made to collect garbage; after that, twice as many as were left the last
// time. A heap has two mappings, and a closed one keeps them until a collection.
constexpr size_t kLeastMappings = 512;
thread_local size_t most_mappings = kLeastMappings;

// Counts events that may have left garbage; then the count at this thread's last collection.
std::atomic<uint64_t> garbage_events{0};
thread_local uint64_t seen_garbage_events = 0;

// Unmaps so far, by all threads.
std::atomic<uint64_t> unmaps{0};

// The total claimed by all heaps without a limit of their own.
std::mutex claims_mutex;
size_t all_claimed = 0;  // guarded by the mutex

}  // namespace

void LetGoOfExpired() {
  std::vector<std::unique_ptr<Held>> expired;  // destroyed after the lock: an unmap takes time
  std::lock_guard<std::mutex> lock(unowned_mutex);
  for (auto& held : unowned)
    if (held->store.expired()) expired.push_back(std::move(held));
  unowned.erase(std::remove(unowned.begin(), unowned.end(), nullptr), unowned.end());
}

void NoteGarbage() { garbage_events++; }

void NoteUnmap() { unmaps++; }

void CollectGarbage() {
  seen_garbage_events = garbage_events;
  v8::Isolate::GetCurrent()->LowMemoryNotification();
  LetGoOfExpired();
}

bool CollectNewGarbage() {
  if (seen_garbage_events == garbage_events) return false;
  const uint64_t before = unmaps;
  CollectGarbage();
  return unmaps != before;
}

void KeepMappingsFromNowOn() { keep_mappings = true; }

bool AreMappingsKept() { return keep_mappings; }

std::shared_ptr<Mapping> Mapping::Reserve(std::shared_ptr<Ledger> ledger, size_t length, size_t alignment,
                                          bool huge_pages, bool is_tight, int& error) {
  // A page on either side never grows. It keeps the kernel from merging this mapping with a neighbour, which would hide
  // its resident size. The remainder from alignment mostly stays reserved: it costs nothing, a trim two calls.
  LetGoOfExpired();
  if (CountMappings() >= most_mappings) {
    CollectGarbage();
    most_mappings = std::max(kLeastMappings, 2 * CountMappings());
  }
  const size_t guard = system::PageSize();
  const size_t raw_length = guard + (alignment > guard ? alignment : guard) + length + guard;
  system::Mapped mapped = system::Reserve(*ledger, raw_length);
  if (mapped.error == ENOMEM && CollectNewGarbage()) mapped = system::Reserve(*ledger, raw_length);
  error = mapped.error;
  if (mapped.address == nullptr) return nullptr;
  const uintptr_t first = reinterpret_cast<uintptr_t>(mapped.address) + guard;
  char* base = mapped.address + guard + (alignment - first % alignment) % alignment;
  char* first_byte = mapped.address;
  char* end = mapped.address + raw_length;
  if (is_tight) {
    const auto give_back = [&](char* from, char* to) {
      return from < to && system::Unmap(*ledger, from, static_cast<size_t>(to - from)) == 0;
    };
    if (give_back(first_byte, base - guard)) first_byte = base - guard;
    if (give_back(base + length + guard, end)) end = base + length + guard;
  }
  std::shared_ptr<Mapping> mapping(
      new Mapping(std::move(ledger), first_byte, static_cast<size_t>(end - first_byte), base, length, huge_pages));
  NoteGarbage();
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
    // Before the unmap: the next owner of the addresses puts its own mapping here.
    std::lock_guard<std::mutex> lock(mappings_mutex);
    mappings.erase(base_);
  }
  Claim(0, 0);
  if (keep_mappings) return;
  system::Unmap(*ledger_, raw_, raw_length_);
  NoteUnmap();
}

bool Mapping::Claim(size_t bytes, size_t most) {
  std::lock_guard<std::mutex> lock(claims_mutex);
  const size_t others = all_claimed - claimed_;
  if (bytes > claimed_ && (bytes > most || others > most - bytes)) return false;
  all_claimed = others + bytes;
  claimed_ = bytes;
  return true;
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
  int error = system::Grow(*ledger_, base_ + offset, length);
  // The system limits a process's mappings and committed memory, and garbage counts.
  if (error == ENOMEM && CollectNewGarbage()) error = system::Grow(*ledger_, base_ + offset, length);
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

Napi::Value HoldingBuffer(Napi::Env env, std::shared_ptr<void> memory, char* address, size_t length) {
  v8::Isolate* isolate = v8::Isolate::GetCurrent();
  std::shared_ptr<v8::BackingStore> store =
      v8::ArrayBuffer::NewBackingStore(address, length, v8::BackingStore::EmptyDeleter, nullptr);
  auto* held = new Held{std::move(memory), store, {}, env};
  const v8::Local<v8::ArrayBuffer> buffer = v8::ArrayBuffer::New(isolate, std::move(store));
  held->buffer.Reset(isolate, buffer);
  held->buffer.SetWeak(held, Collected, v8::WeakCallbackType::kParameter);
  held_objects.insert(held);
  return Napi::Value(env, ToNapi(buffer));
}

void LetGoAtEnd(napi_env env) {
  static thread_local ThreadEnd thread_end;
  (void)thread_end;
  for (auto held = held_objects.begin(); held != held_objects.end();) {
    Held* const object = *held++;
    if (object->env != env) continue;
    object->buffer.Reset();
    ObjectIsGone(object);
  }
  LetGoOfExpired();
}

// Makes V8 refuse to detach an ArrayBuffer, as it does for a WebAssembly.Memory's. On Node 20 and 22, Node's own mark
// doesn't stop byte streams and ArrayBuffer.prototype.transfer, and a BYOB reader that takes such a buffer ends the
// process if the view lies above 4 GiB. V8 has no function for this. So this clears the flag in the object, after
// checking that the words around it are as in these two versions, whose V8 doesn't change any more. If they aren't, the
// buffer stays unchanged.
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

}  // namespace spanheap
