#include "direct.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "arguments.h"
#include "mapping.h"
#include "system.h"

namespace spanheap {

namespace {

// Added to the bytes of each freed block that is still mapped, since the system limits the number of mappings.
constexpr size_t kPerBlock = size_t{1} << 26;
// The least total of waiting blocks before V8 is made to collect garbage; after that, twice the rest of the last time.
constexpr size_t kLeastWaiting = size_t{1} << 36;
std::atomic<size_t> waiting{0};
thread_local size_t most_waiting = kLeastWaiting;

// One mapping. It is unmapped when it is freed or, if ArrayBuffers were made over it, once V8 has let go of the last.
struct Block {
  const std::shared_ptr<Ledger> ledger;
  char* const address;
  size_t length;            // 0 once it is unmapped
  bool is_waiting = false;  // it is freed

  Block(std::shared_ptr<Ledger> recorder, const system::Mapped& mapped, size_t bytes)
      : ledger(std::move(recorder)), address(mapped.address), length(bytes) {}
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() {
    if (is_waiting) waiting -= length + kPerBlock;
    if (!AreMappingsKept()) Unmap();
  }

  int Unmap() {
    if (length == 0) return 0;
    const int error = system::Unmap(*ledger, address, length);
    if (error == 0) {
      ledger->direct_bytes -= length;
      length = 0;
      NoteUnmap();
    }
    return error;
  }
};

// The live blocks, by address. Whatever the arguments, nothing outside of them is read, written or unmapped.
std::mutex blocks_mutex;
// Guarded by the mutex. Never destroyed: unmapping at the end of the process is the kernel's job.
auto& blocks = *new std::map<uintptr_t, std::shared_ptr<Block>>;

void Remember(std::shared_ptr<Block> block) {
  std::lock_guard<std::mutex> lock(blocks_mutex);
  const auto address = reinterpret_cast<uintptr_t>(block->address);
  blocks[address] = std::move(block);
}

// Removes the block with this address and length; nullptr if there is none.
std::shared_ptr<Block> Forget(uintptr_t address, size_t length) {
  std::lock_guard<std::mutex> lock(blocks_mutex);
  const auto found = blocks.find(address);
  if (found == blocks.end() || found->second->length != length) return nullptr;
  std::shared_ptr<Block> block = std::move(found->second);
  blocks.erase(found);
  return block;
}

// The block that contains a range; nullptr if there is none.
std::shared_ptr<Block> BlockAround(uintptr_t address, size_t length) {
  std::lock_guard<std::mutex> lock(blocks_mutex);
  auto found = blocks.upper_bound(address);
  if (found == blocks.begin()) return nullptr;
  --found;
  const size_t offset = address - found->first;
  const size_t all = found->second->length;
  return offset <= all && length <= all - offset ? found->second : nullptr;
}

bool IsMapped(uintptr_t address, size_t length) { return BlockAround(address, length) != nullptr; }

char* ToPointer(uintptr_t address) { return reinterpret_cast<char*>(address); }

// map(ledger, length): the address, or minus errno.
Napi::Value Map(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto ledger = arguments.Held<Ledger>(0);
  const size_t length = arguments.Size(1);
  if (arguments.wrong()) return info.Env().Undefined();
  LetGoOfExpired();
  if (waiting >= most_waiting) {
    CollectGarbage();
    most_waiting = std::max<size_t>(kLeastWaiting, 2 * waiting);
  }
  system::Mapped mapped = system::Map(*ledger, length);
  if (mapped.error == ENOMEM && CollectNewGarbage()) mapped = system::Map(*ledger, length);
  if (mapped.address == nullptr) return Napi::Number::New(info.Env(), -static_cast<double>(mapped.error));
  ledger->direct_bytes += length;
  Remember(std::shared_ptr<Block>(new Block(ledger, mapped, length)));
  return Napi::Number::New(info.Env(), static_cast<double>(reinterpret_cast<uintptr_t>(mapped.address)));
}

// unmap(ledger, address, length): errno; EINVAL if there is no such mapping. If V8 still holds it, its pages go back
// now and its addresses when V8 lets go; until then old views can still read and write it.
Napi::Value Unmap(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto ledger = arguments.Held<Ledger>(0);
  const uintptr_t address = arguments.Size(1);
  const size_t length = arguments.Size(2);
  if (arguments.wrong()) return info.Env().Undefined();
  // Removed first: once it is unmapped, another thread may get these addresses.
  std::shared_ptr<Block> block = Forget(address, length);
  if (block == nullptr) return Napi::Number::New(info.Env(), EINVAL);
  int error = 0;
  if (block.use_count() == 1) {
    error = block->Unmap();
    if (error != 0) Remember(std::move(block));
  } else {
    system::Release(*ledger, block->address, length);
    waiting += length + kPerBlock;
    block->is_waiting = true;
    NoteGarbage();
  }
  return Napi::Number::New(info.Env(), error);
}

// directBytes(ledger): bytes mapped for blocks, freed or not.
Napi::Value DirectBytes(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto ledger = arguments.Held<Ledger>(0);
  if (arguments.wrong()) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), static_cast<double>(ledger->direct_bytes));
}

// bufferOver(address, length): an ArrayBuffer over a mapping, or a part of one.
Napi::Value Buffer(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const uintptr_t address = arguments.Size(0);
  const size_t length = arguments.Size(1);
  if (arguments.wrong()) return info.Env().Undefined();
  std::shared_ptr<Block> block = BlockAround(address, length);
  if (block == nullptr) {
    arguments.Refuse<size_t>(0, "inside of a mapping");
    return info.Env().Undefined();
  }
  return HoldingBuffer(info.Env(), std::move(block), ToPointer(address), length);
}

// copy(to, from, length): bytes between two mappings, without a buffer over either.
void Copy(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const uintptr_t to = arguments.Size(0);
  const uintptr_t from = arguments.Size(1);
  const size_t length = arguments.Size(2);
  if (arguments.wrong()) return;
  if (IsMapped(to, length) && IsMapped(from, length)) {
    std::memmove(ToPointer(to), ToPointer(from), length);
  } else {
    arguments.Refuse<size_t>(2, "what both mappings have");
  }
}

// touch(address, length, stride): writes one byte in every `stride`, as a program that uses the block would.
void Touch(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const uintptr_t address = arguments.Size(0);
  const size_t length = arguments.Size(1);
  const size_t stride = arguments.Size(2);
  if (!arguments.wrong() && !IsMapped(address, length)) arguments.Refuse<size_t>(0, "inside of a mapping");
  if (!arguments.wrong() && stride == 0) arguments.Refuse<size_t>(2, "above 0");
  if (arguments.wrong()) return;
  volatile char* bytes = ToPointer(address);
  for (size_t i = 0; i < length; i += stride) bytes[i] = 1;
}

}  // namespace

void ExportDirect(Napi::Env env, Napi::Object exports) {
  exports.Set("map", Napi::Function::New(env, Map, "map"));
  exports.Set("unmap", Napi::Function::New(env, Unmap, "unmap"));
  exports.Set("directBytes", Napi::Function::New(env, DirectBytes, "directBytes"));
  exports.Set("bufferOver", Napi::Function::New(env, Buffer, "bufferOver"));
  exports.Set("copy", Napi::Function::New(env, Copy, "copy"));
  exports.Set("touch", Napi::Function::New(env, Touch, "touch"));
}

}  // namespace spanheap
