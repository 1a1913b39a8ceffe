// Node's headers, with the warnings that are theirs switched off: ours are errors.
#ifndef SPANHEAP_NAPI_HEADERS_H_
#define SPANHEAP_NAPI_HEADERS_H_

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#include <napi.h>
#pragma GCC diagnostic pop

#endif  // SPANHEAP_NAPI_HEADERS_H_
