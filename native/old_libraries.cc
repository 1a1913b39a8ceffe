// What keeps the addon loadable wherever Node itself is: with glibc 2.28 and the libstdc++ of gcc 8 (GLIBCXX_3.4.25).
// The headers of newer ones make inline functions call what only newer libraries have. Here is that in the addon
// itself, hidden, so that no other library sees it. For the same reason no std::make_shared is called: without run-time
// types it asks libstdc++ for a function of GLIBCXX_3.4.26. scripts/prebuild.mjs refuses a binary that wants more.
#include <cstdlib>

#ifdef __GLIBC__

#define HIDDEN __attribute__((visibility("hidden")))

// GLIBC_2.32. Whether shared_ptr may count without atomic instructions: never, since Node has threads from its start.
extern "C" {
extern HIDDEN char __libc_single_threaded;
char __libc_single_threaded = 0;
}

namespace std {

// GLIBCXX_3.4.29. Where a container would need more bytes than a size_t holds. No exception leaves the addon.
HIDDEN void __throw_bad_array_new_length();
void __throw_bad_array_new_length() { abort(); }

}  // namespace std

#endif
