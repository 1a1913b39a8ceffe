// How the shim reads its arguments. Its only caller is lib/os, which checks them; here they are only converted.
#ifndef SPANHEAP_ARGUMENTS_H_
#define SPANHEAP_ARGUMENTS_H_

#include <memory>

#include "ledger.h"
#include "napi_headers.h"

namespace spanheap {

inline double NumberAt(const Napi::CallbackInfo& info, size_t index) {
  return info[index].As<Napi::Number>().DoubleValue();
}

inline size_t SizeAt(const Napi::CallbackInfo& info, size_t index) {
  return static_cast<size_t>(info[index].As<Napi::Number>().Int64Value());
}

inline char* AddressAt(const Napi::CallbackInfo& info, size_t index) {
  return reinterpret_cast<char*>(static_cast<uintptr_t>(SizeAt(info, index)));
}

template <typename T>
const std::shared_ptr<T>& HeldAt(const Napi::CallbackInfo& info, size_t index) {
  return *info[index].As<Napi::External<std::shared_ptr<T>>>().Data();
}

// A shared pointer as a JavaScript value that holds it until it is collected.
template <typename T>
Napi::Value Hold(Napi::Env env, std::shared_ptr<T> held) {
  return Napi::External<std::shared_ptr<T>>::New(env, new std::shared_ptr<T>(std::move(held)),
                                                 [](Napi::Env, std::shared_ptr<T>* pointer) { delete pointer; });
}

}  // namespace spanheap

#endif  // SPANHEAP_ARGUMENTS_H_
