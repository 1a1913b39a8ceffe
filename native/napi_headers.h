// Node's headers, with their warnings switched off: in our code warnings are errors.
#ifndef SPANHEAP_NAPI_HEADERS_H_
#define SPANHEAP_NAPI_HEADERS_H_

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#include <napi.h>
#pragma GCC diagnostic pop

// Node's version header also defines this, as the newest version that it offers; ours is the oldest that we need.
#pragma push_macro("NAPI_VERSION")
#undef NAPI_VERSION
#include <node_version.h>
#pragma pop_macro("NAPI_VERSION")

#endif  // SPANHEAP_NAPI_HEADERS_H_
