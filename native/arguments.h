// How the shim reads its arguments. lib/os checks the arguments that programs pass to the library. But code that loads
// the addon directly may pass anything, and gets an exception for it, not a crash.
#ifndef SPANHEAP_ARGUMENTS_H_
#define SPANHEAP_ARGUMENTS_H_

#include <memory>
#include <string>

#include "ledger.h"
#include "napi_headers.h"

namespace spanheap {

// JavaScript's largest safe integer.
constexpr double kMostSafeInteger = 9007199254740991;

class Mapping;

// Tags the contents of our JavaScript values, to tell them from any other addon's. Random numbers.
template <typename T>
constexpr napi_type_tag kTagOf{};
template <>
constexpr napi_type_tag kTagOf<Ledger>{0x1f0c8a5be2d94763, 0x9b6e24d1705fa83c};
template <>
constexpr napi_type_tag kTagOf<Mapping>{0xc47a93e80d1b652f, 0x58f2b06d9ce4317a};

// How a value refers to its object. A mapping's value doesn't keep it alive: the buffers over it do, and V8 lets go of
// these at a collection. A Node-API value would wait for a turn of the event loop.
template <typename T>
struct Holder {
  using Pointer = std::shared_ptr<T>;
  static std::shared_ptr<T> Get(const Pointer& pointer) { return pointer; }
};
template <>
struct Holder<Mapping> {
  using Pointer = std::weak_ptr<Mapping>;
  static std::shared_ptr<Mapping> Get(const Pointer& pointer) { return pointer.lock(); }
};

// The arguments of one call. After a wrong one a TypeError is pending, and the call must return.
class Arguments {
 public:
  explicit Arguments(const Napi::CallbackInfo& info) : info_(info) {}
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  bool wrong() const { return wrong_; }

  // An integer from 0 to 2^53 - 1.
  size_t Size(size_t index) {
    const double number = info_[index].IsNumber() ? info_[index].As<Napi::Number>().DoubleValue() : -1;
    const bool is_size = number >= 0 && number <= kMostSafeInteger && number == static_cast<double>(ToSize(number));
    return is_size ? ToSize(number) : Refuse<size_t>(index, "a natural number");
  }

  bool Flag(size_t index) {
    return info_[index].IsBoolean() ? info_[index].As<Napi::Boolean>().Value() : Refuse<bool>(index, "a boolean");
  }

  // A string for the system, without a NUL, at which it would end there.
  std::string Text(size_t index) {
    const std::string text = info_[index].IsString() ? info_[index].As<Napi::String>().Utf8Value() : std::string(1, 0);
    return text.find('\0') == std::string::npos ? text : Refuse<std::string>(index, "a string without NUL");
  }

  // The object of a value from `Hold`.
  template <typename T>
  std::shared_ptr<T> Held(size_t index) {
    bool is_ours = false;
    if (info_[index].IsExternal()) napi_check_object_type_tag(info_.Env(), info_[index], &kTagOf<T>, &is_ours);
    std::shared_ptr<T> held;
    if (is_ours) held = Holder<T>::Get(*info_[index].As<Napi::External<typename Holder<T>::Pointer>>().Data());
    return held != nullptr ? held : Refuse<std::shared_ptr<T>>(index, "a handle of the shim's");
  }

  template <typename T>
  T Refuse(size_t index, const char* expected) {
    if (!wrong_) {
      const std::string message = "argument " + std::to_string(index + 1) + " must be " + expected;
      Napi::TypeError::New(info_.Env(), message).ThrowAsJavaScriptException();
    }
    wrong_ = true;
    return T();
  }

 private:
  static size_t ToSize(double number) { return static_cast<size_t>(number); }

  const Napi::CallbackInfo& info_;
  bool wrong_ = false;
};

// A JavaScript value that holds a pointer until it is collected.
template <typename T>
Napi::Value Hold(Napi::Env env, const std::shared_ptr<T>& held) {
  using Pointer = typename Holder<T>::Pointer;
  const auto external =
      Napi::External<Pointer>::New(env, new Pointer(held), [](Napi::Env, Pointer* pointer) { delete pointer; });
  napi_type_tag_object(env, external, &kTagOf<T>);
  return external;
}

}  // namespace spanheap

#endif  // SPANHEAP_ARGUMENTS_H_
