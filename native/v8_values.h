// V8's own values, for when Node-API's won't do: V8's headers, and conversions between a napi_value and a handle.
#ifndef SPANHEAP_V8_VALUES_H_
#define SPANHEAP_V8_VALUES_H_

#include <cstring>

#include "napi_headers.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#include <v8.h>
#pragma GCC diagnostic pop

namespace spanheap {

// A v8::Local is one pointer, and so is a napi_value; Node-API itself converts between them in this way.
inline napi_value ToNapi(v8::Local<v8::Value> local) {
  static_assert(sizeof(napi_value) == sizeof(local), "a handle is one pointer");
  napi_value value;
  std::memcpy(&value, &local, sizeof value);
  return value;
}

inline v8::Local<v8::Value> ToV8(napi_value value) {
  v8::Local<v8::Value> local;
  std::memcpy(static_cast<void*>(&local), &value, sizeof value);
  return local;
}

}  // namespace spanheap

#endif  // SPANHEAP_V8_VALUES_H_
