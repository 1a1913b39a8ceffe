// One mapping per allocation: the baseline against which an allocator is measured.
#ifndef SPANHEAP_DIRECT_H_
#define SPANHEAP_DIRECT_H_

#include "napi_headers.h"

namespace spanheap {

void ExportDirect(Napi::Env env, Napi::Object exports);

}  // namespace spanheap

#endif  // SPANHEAP_DIRECT_H_
