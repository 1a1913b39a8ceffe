// The shim's JavaScript interface. It makes no decisions; its only caller is lib/os/native-mapper.ts.
#include <dlfcn.h>

#include <cerrno>

#include "arguments.h"
#include "direct.h"
#include "isolated.h"
#include "ledger.h"
#include "mapping.h"
#include "system.h"
#include "thread_slot.h"

namespace spanheap {

namespace {

Napi::Value OpenLedger(const Napi::CallbackInfo& info) { return Hold(info.Env(), std::shared_ptr<Ledger>(new Ledger)); }

// ledgerCounts(ledger): [mmap, munmap, madvise, failed]
Napi::Value LedgerCounts(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto ledger = arguments.Held<Ledger>(0);
  if (arguments.wrong()) return info.Env().Undefined();
  Napi::Array counts = Napi::Array::New(info.Env(), kCallKinds + 1);
  for (uint32_t i = 0; i < kCallKinds; i++) {
    counts[i] = Napi::Number::New(info.Env(), static_cast<double>(ledger->succeeded(static_cast<Call>(i))));
  }
  counts[kCallKinds] = Napi::Number::New(info.Env(), static_cast<double>(ledger->failed()));
  return counts;
}

void KeepRing(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto ledger = arguments.Held<Ledger>(0);
  const size_t capacity = arguments.Size(1);
  if (!arguments.wrong()) ledger->KeepRing(capacity);
}

Napi::Value WriteLedgerTo(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto ledger = arguments.Held<Ledger>(0);
  const std::string path = arguments.Text(1);
  if (arguments.wrong()) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), ledger->WriteTo(path));
}

void FlushLedgerFile(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto ledger = arguments.Held<Ledger>(0);
  if (!arguments.wrong()) ledger->FlushFile();
}

Napi::Value LedgerRing(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments arguments(info);
  const auto ledger = arguments.Held<Ledger>(0);
  if (arguments.wrong()) return env.Undefined();
  const std::vector<Entry> ring = ledger->Ring();
  Napi::Array entries = Napi::Array::New(env, ring.size());
  for (uint32_t i = 0; i < ring.size(); i++) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("call", NameOf(ring[i].call));
    entry.Set("address", static_cast<double>(ring[i].address));
    entry.Set("length", static_cast<double>(ring[i].length));
    entry.Set("ns", static_cast<double>(ring[i].nanoseconds));
    if (ring[i].error != 0) entry.Set("errno", ring[i].error);
    entries[i] = entry;
  }
  return entries;
}

// reserve(ledger, length, alignment, hugePages, sharedLength, isTight): { handle, buffer, address }, or errno. The
// buffer is a SharedArrayBuffer of the first `sharedLength` bytes.
Napi::Value Reserve(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments arguments(info);
  auto ledger = arguments.Held<Ledger>(0);
  const size_t length = arguments.Size(1);
  const size_t alignment = arguments.Size(2);
  const bool huge_pages = arguments.Flag(3);
  const size_t shared_length = arguments.Size(4);
  const bool is_tight = arguments.Flag(5);
  if (shared_length > length) arguments.Refuse<size_t>(4, "at most the whole");
  if (alignment == 0) arguments.Refuse<size_t>(2, "above 0");
  if (arguments.wrong()) return env.Undefined();
  int error = 0;
  std::shared_ptr<Mapping> mapping =
      Mapping::Reserve(std::move(ledger), length, alignment, huge_pages, is_tight, error);
  if (mapping == nullptr) return Napi::Number::New(env, error);
  Napi::Object result = Napi::Object::New(env);
  result.Set("address", static_cast<double>(reinterpret_cast<uintptr_t>(mapping->base())));
  result.Set("buffer", SharedBuffer(env, mapping, shared_length));
  result.Set("handle", Hold(env, mapping));
  return result;
}

// adopt(buffer): { handle, address, length, ledger, heap } of the mapping under a SharedArrayBuffer that came from
// another thread, or undefined if there is none. `heap` is the same number for all mappings of one ledger.
Napi::Value Adopt(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const std::shared_ptr<Mapping> mapping = Mapping::At(BaseOf(info[0]));
  if (mapping == nullptr) return env.Undefined();
  Napi::Object result = Napi::Object::New(env);
  result.Set("address", static_cast<double>(reinterpret_cast<uintptr_t>(mapping->base())));
  result.Set("length", static_cast<double>(mapping->length()));
  result.Set("ledger", Hold(env, mapping->ledger()));
  result.Set("heap", static_cast<double>(reinterpret_cast<uintptr_t>(mapping->ledger().get())));
  result.Set("handle", Hold(env, mapping));
  return result;
}

// unshared(handle): a new ArrayBuffer over the mapping's memory. unshared(handle, offset, length): over a part of it.
Napi::Value Unshared(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  std::shared_ptr<Mapping> mapping = arguments.Held<Mapping>(0);
  const bool is_part = info.Length() > 1;
  const size_t offset = is_part ? arguments.Size(1) : 0;
  const size_t length = is_part ? arguments.Size(2) : 0;
  if (!arguments.wrong() && is_part && !mapping->Contains(offset, length + 1))
    arguments.Refuse<size_t>(1, "where the mapping is");
  if (arguments.wrong()) return info.Env().Undefined();
  char* const address = mapping->base() + offset;
  const size_t all = mapping->length();
  return HoldingBuffer(info.Env(), std::move(mapping), address, is_part ? length : all);
}

// forbidDetach(buffer): makes V8 refuse to detach an ArrayBuffer, on Node 20 and 22.
void ForbidDetachOf(const Napi::CallbackInfo& info) { ForbidDetach(info[0]); }

// grow(handle, offset, length), release(handle, offset, length): errno.
template <int (Mapping::*Method)(size_t, size_t)>
Napi::Value OnRange(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto mapping = arguments.Held<Mapping>(0);
  const size_t offset = arguments.Size(1);
  const size_t length = arguments.Size(2);
  if (arguments.wrong()) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), mapping->Contains(offset, length) ? (*mapping.*Method)(offset, length) : EINVAL);
}

// claim(handle, bytes, most): whether the heap may have `bytes` of a shared budget of `most`.
Napi::Value Claim(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto mapping = arguments.Held<Mapping>(0);
  const size_t bytes = arguments.Size(1);
  const size_t most = arguments.Size(2);
  if (arguments.wrong()) return info.Env().Undefined();
  return Napi::Boolean::New(info.Env(), mapping->Claim(bytes, most));
}

// claimSlot(handle, offset, count, isSpare): the index, or -1.
Napi::Value ClaimSlot(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto mapping = arguments.Held<Mapping>(0);
  const size_t offset = arguments.Size(1);
  const size_t count = arguments.Size(2);
  const bool is_spare = arguments.Flag(3);
  if (arguments.wrong()) return info.Env().Undefined();
  if (count > kMostThreadSlots || offset % sizeof(uint32_t) != 0 ||
      !mapping->IsGrown(offset, (1 + count + is_spare) * sizeof(uint32_t))) {
    arguments.Refuse<size_t>(1, "where words of slots are");
    return info.Env().Undefined();
  }
  return Napi::Number::New(info.Env(), ClaimThreadSlot(info.Env(), mapping, offset, static_cast<int>(count), is_spare));
}

// Gives a slot up by `leave`; whether this thread owned it.
Napi::Value LeaveSlot(const Napi::CallbackInfo& info, decltype(ReleaseThreadSlot)* leave) {
  Arguments arguments(info);
  const auto mapping = arguments.Held<Mapping>(0);
  const size_t offset = arguments.Size(1);
  const size_t index = arguments.Size(2);
  if (arguments.wrong()) return info.Env().Undefined();
  const bool owned = index < kMostThreadSlots && mapping->Contains(offset, (2 + index) * sizeof(uint32_t)) &&
                     leave(info.Env(), mapping, offset, static_cast<int>(index));
  return Napi::Boolean::New(info.Env(), owned);
}

// freeSlot(handle, offset, index)
Napi::Value FreeSlot(const Napi::CallbackInfo& info) { return LeaveSlot(info, ReleaseThreadSlot); }

// endSlot(handle, offset, index)
Napi::Value EndSlot(const Napi::CallbackInfo& info) { return LeaveSlot(info, EndThreadSlot); }

// For the main thread: it ends with the process, and the kernel unmaps everything then. V8's last sweep may come later,
// and may read memory that a deleter would have unmapped.
void KeepMappingsAtExit(const Napi::CallbackInfo& info) {
  info.Env().AddCleanupHook([] { KeepMappingsFromNowOn(); });
}

// Keeps the addon loaded. Node unloads it when the last environment that loaded it ends, but V8 may hold our deleters
// longer. On Linux the linker marks the addon as never unloaded (spanheap.gypi), since dlopen is a symbol of glibc 2.34
// there.
void PinAddon() {
#ifdef __APPLE__
  Dl_info self;
  if (dladdr(reinterpret_cast<void*>(&PinAddon), &self) != 0) {
    dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
  }
#endif
}

// Whether V8 accepts external memory. With its sandbox (Electron) it aborts on any, so ask Node-API first, which only
// refuses.
bool ExternalMemoryAllowed(Napi::Env env) {
  static char byte;
  napi_value buffer;
  return napi_create_external_arraybuffer(env, &byte, 1, nullptr, nullptr, &buffer) == napi_ok;
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  PinAddon();
  napi_add_env_cleanup_hook(
      env, [](void* ending) { LetGoAtEnd(static_cast<napi_env>(ending)); }, static_cast<napi_env>(env));
  exports.Set("builtForModules", NODE_MODULE_VERSION);
  exports.Set("externalMemoryAllowed", ExternalMemoryAllowed(env));
  exports.Set("pageSize", static_cast<double>(system::PageSize()));
  exports.Set("openLedger", Napi::Function::New(env, OpenLedger, "openLedger"));
  exports.Set("ledgerCounts", Napi::Function::New(env, LedgerCounts, "ledgerCounts"));
  exports.Set("keepRing", Napi::Function::New(env, KeepRing, "keepRing"));
  exports.Set("writeLedgerTo", Napi::Function::New(env, WriteLedgerTo, "writeLedgerTo"));
  exports.Set("flushLedgerFile", Napi::Function::New(env, FlushLedgerFile, "flushLedgerFile"));
  exports.Set("ledgerRing", Napi::Function::New(env, LedgerRing, "ledgerRing"));
  exports.Set("reserve", Napi::Function::New(env, Reserve, "reserve"));
  exports.Set("adopt", Napi::Function::New(env, Adopt, "adopt"));
  exports.Set("unshared", Napi::Function::New(env, Unshared, "unshared"));
  exports.Set("forbidDetach", Napi::Function::New(env, ForbidDetachOf, "forbidDetach"));
  exports.Set("grow", Napi::Function::New(env, OnRange<&Mapping::Grow>, "grow"));
  exports.Set("release", Napi::Function::New(env, OnRange<&Mapping::Release>, "release"));
  exports.Set("claim", Napi::Function::New(env, Claim, "claim"));
  exports.Set("claimSlot", Napi::Function::New(env, ClaimSlot, "claimSlot"));
  exports.Set("freeSlot", Napi::Function::New(env, FreeSlot, "freeSlot"));
  exports.Set("endSlot", Napi::Function::New(env, EndSlot, "endSlot"));
  exports.Set("keepMappingsAtExit", Napi::Function::New(env, KeepMappingsAtExit, "keepMappingsAtExit"));
  ExportDirect(env, exports);
  ExportIsolated(env, exports);
  return exports;
}

}  // namespace

}  // namespace spanheap

static Napi::Object InitSpanheap(Napi::Env env, Napi::Object exports) { return spanheap::Init(env, exports); }

NODE_API_MODULE(spanheap, InitSpanheap)
