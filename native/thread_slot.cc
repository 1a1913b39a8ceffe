#include "thread_slot.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace spanheap {

namespace {

struct Claim {
  // Weak: a heap that was dropped without being closed takes its memory with it, and then there is nothing to mark.
  std::weak_ptr<Mapping> mapping;
  int32_t* word;
};

using Claims = std::vector<std::unique_ptr<Claim>>;

// The claims of this thread. An environment belongs to one thread, and so do its hooks.
thread_local Claims claims;

void MarkDead(void* argument) {
  auto* claim = static_cast<Claim*>(argument);
  const std::shared_ptr<Mapping> mapping = claim->mapping.lock();
  if (mapping != nullptr) __atomic_store_n(claim->word, kSlotDead, __ATOMIC_SEQ_CST);
  claims.erase(std::remove_if(claims.begin(), claims.end(),
                              [claim](const std::unique_ptr<Claim>& held) { return held.get() == claim; }),
               claims.end());
}

Claims::iterator Forget(Napi::Env env, Claims::iterator claim) {
  napi_remove_env_cleanup_hook(env, MarkDead, claim->get());
  return claims.erase(claim);
}

}  // namespace

int ClaimThreadSlot(Napi::Env env, const std::shared_ptr<Mapping>& mapping, size_t offset, int count) {
  for (auto claim = claims.begin(); claim != claims.end();) {
    claim = (*claim)->mapping.expired() ? Forget(env, claim) : claim + 1;
  }
  auto* words = reinterpret_cast<int32_t*>(mapping->base() + offset);
  for (int index = 0; index < count; index++) {
    int32_t expected = kSlotFree;
    if (!__atomic_compare_exchange_n(&words[index], &expected, kSlotLive, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
      continue;
    }
    claims.push_back(std::make_unique<Claim>(Claim{mapping, &words[index]}));
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
  Forget(env, claim);
  __atomic_store_n(word, kSlotFree, __ATOMIC_SEQ_CST);
  return true;
}

}  // namespace spanheap
