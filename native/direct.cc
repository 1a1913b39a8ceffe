#include "direct.h"

#include <cstring>

#include "arguments.h"
#include "mapping.h"
#include "system.h"

namespace spanheap {

namespace {

// map(ledger, length): the address, or minus errno.
Napi::Value Map(const Napi::CallbackInfo& info) {
  const system::Mapped mapped = system::Map(*HeldAt<Ledger>(info, 0), SizeAt(info, 1));
  const double result = mapped.address == nullptr ? -static_cast<double>(mapped.error)
                                                  : static_cast<double>(reinterpret_cast<uintptr_t>(mapped.address));
  return Napi::Number::New(info.Env(), result);
}

// unmap(ledger, address, length): errno.
Napi::Value Unmap(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), system::Unmap(*HeldAt<Ledger>(info, 0), AddressAt(info, 1), SizeAt(info, 2)));
}

// buffer(address, length): an ArrayBuffer over a mapping.
Napi::Value Buffer(const Napi::CallbackInfo& info) {
  return BorrowedBuffer(info.Env(), AddressAt(info, 0), SizeAt(info, 1));
}

// copy(to, from, length): bytes between two mappings, without a buffer over either.
void Copy(const Napi::CallbackInfo& info) { std::memcpy(AddressAt(info, 0), AddressAt(info, 1), SizeAt(info, 2)); }

// touch(address, length, stride): writes one byte in every `stride`, as a program that uses the block would.
void Touch(const Napi::CallbackInfo& info) {
  volatile char* bytes = AddressAt(info, 0);
  const size_t length = SizeAt(info, 1);
  const size_t stride = SizeAt(info, 2);
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
