#include "thread_slot.h"

#include <algorithm>
#include <memory>
#include <vector>

namespace spanheap {

namespace {

struct Claim {
  std::shared_ptr<Mapping> mapping;  // keeps the word mapped until the hook has run
  int32_t* word;
};

// The claims of this thread. An environment belongs to one thread, and so do its hooks.
thread_local std::vector<std::unique_ptr<Claim>> claims;

void MarkDead(void* argument) {
  auto* claim = static_cast<Claim*>(argument);
  __atomic_store_n(claim->word, kSlotDead, __ATOMIC_SEQ_CST);
  claims.erase(std::remove_if(claims.begin(), claims.end(),
                              [claim](const std::unique_ptr<Claim>& held) { return held.get() == claim; }),
               claims.end());
}

}  // namespace

int ClaimThreadSlot(Napi::Env env, std::shared_ptr<Mapping> mapping, size_t offset, int count) {
  auto* words = reinterpret_cast<int32_t*>(mapping->base() + offset);
  for (int index = 0; index < count; index++) {
    int32_t expected = kSlotFree;
    if (!__atomic_compare_exchange_n(&words[index], &expected, kSlotLive, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
      continue;
    }
    claims.push_back(std::make_unique<Claim>(Claim{std::move(mapping), &words[index]}));
    napi_add_env_cleanup_hook(env, MarkDead, claims.back().get());
    return index;
  }
  return -1;
}

bool ReleaseThreadSlot(Napi::Env env, const std::shared_ptr<Mapping>& mapping, size_t offset, int index) {
  int32_t* word = reinterpret_cast<int32_t*>(mapping->base() + offset) + index;
  const auto claim = std::find_if(claims.begin(), claims.end(),
                                  [word](const std::unique_ptr<Claim>& held) { return held->word == word; });
  if (claim == claims.end()) return false;
  napi_remove_env_cleanup_hook(env, MarkDead, claim->get());
  __atomic_store_n(word, kSlotFree, __ATOMIC_SEQ_CST);
  claims.erase(claim);
  return true;
}

}  // namespace spanheap
