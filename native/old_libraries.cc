// Keeps the addon loadable wherever Node itself is: with glibc 2.28 and the libstdc++ of gcc 8 (GLIBCXX_3.4.25). Inline
// functions in newer headers call functions that only newer libraries have. This file defines those in the addon,
// hidden from other libraries. For the same reason the addon never calls std::make_shared: without run-time types it
// needs a function of GLIBCXX_3.4.26. scripts/prebuild.mjs refuses a binary that needs newer symbols.
#include <cstdlib>

#ifdef __GLIBC__

#define HIDDEN __attribute__((visibility("hidden")))

// GLIBC_2.32. Whether shared_ptr may count without atomic instructions. Never: Node has threads from its start.
extern "C" {
extern HIDDEN char __libc_single_threaded;
char __libc_single_threaded = 0;
}

namespace std {

// GLIBCXX_3.4.29. Called if a container would need more bytes than a size_t holds. No exception leaves the addon.
HIDDEN void __throw_bad_array_new_length();
void __throw_bad_array_new_length() { abort(); }

}  // namespace std

#endif
