#include "direct.h"

#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>

#include "arguments.h"
#include "mapping.h"
#include "system.h"

namespace spanheap {

namespace {

// The mappings that there are, by address. Nothing outside of them is read, written or unmapped, whatever the
// arguments.
std::mutex mapped_mutex;
std::map<uintptr_t, size_t> mapped;  // guarded by the mutex

void Remember(uintptr_t address, size_t length) {
  std::lock_guard<std::mutex> lock(mapped_mutex);
  mapped[address] = length;
}

bool Forget(uintptr_t address, size_t length) {
  std::lock_guard<std::mutex> lock(mapped_mutex);
  const auto found = mapped.find(address);
  if (found == mapped.end() || found->second != length) return false;
  mapped.erase(found);
  return true;
}

bool IsMapped(uintptr_t address, size_t length) {
  std::lock_guard<std::mutex> lock(mapped_mutex);
  auto found = mapped.upper_bound(address);
  if (found == mapped.begin()) return false;
  --found;
  return address - found->first <= found->second && length <= found->second - (address - found->first);
}

char* ToPointer(uintptr_t address) { return reinterpret_cast<char*>(address); }

// map(ledger, length): the address, or minus errno.
Napi::Value Map(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto ledger = arguments.Held<Ledger>(0);
  const size_t length = arguments.Size(1);
  if (arguments.wrong()) return info.Env().Undefined();
  const system::Mapped block = system::Map(*ledger, length);
  if (block.address == nullptr) return Napi::Number::New(info.Env(), -static_cast<double>(block.error));
  const auto address = reinterpret_cast<uintptr_t>(block.address);
  Remember(address, length);
  return Napi::Number::New(info.Env(), static_cast<double>(address));
}

// unmap(ledger, address, length): errno; EINVAL where no such mapping is.
Napi::Value Unmap(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto ledger = arguments.Held<Ledger>(0);
  const uintptr_t address = arguments.Size(1);
  const size_t length = arguments.Size(2);
  if (arguments.wrong()) return info.Env().Undefined();
  // Forgotten first: once it is unmapped, another thread may have these addresses.
  if (!Forget(address, length)) return Napi::Number::New(info.Env(), EINVAL);
  const int error = system::Unmap(*ledger, ToPointer(address), length);
  if (error != 0) Remember(address, length);
  return Napi::Number::New(info.Env(), error);
}

// buffer(address, length): an ArrayBuffer over a mapping, or a part of one.
Napi::Value Buffer(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const uintptr_t address = arguments.Size(0);
  const size_t length = arguments.Size(1);
  if (!arguments.wrong() && !IsMapped(address, length)) arguments.Refuse<size_t>(0, "inside of a mapping");
  if (arguments.wrong()) return info.Env().Undefined();
  return BorrowedBuffer(info.Env(), ToPointer(address), length);
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
  exports.Set("bufferOver", Napi::Function::New(env, Buffer, "bufferOver"));
  exports.Set("copy", Napi::Function::New(env, Copy, "copy"));
  exports.Set("touch", Napi::Function::New(env, Touch, "touch"));
}

}  // namespace spanheap
