// Mappings of their own, one per allocation: the baseline that an allocator is measured against.
#ifndef SPANHEAP_DIRECT_H_
#define SPANHEAP_DIRECT_H_

#include "napi_headers.h"

namespace spanheap {

void ExportDirect(Napi::Env env, Napi::Object exports);

}  // namespace spanheap

#endif  // SPANHEAP_DIRECT_H_
