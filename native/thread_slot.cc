#include "thread_slot.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace spanheap {

namespace {

struct Claim {
  // Weak: the memory of a heap dropped without being closed is unmapped, and there is nothing to mark then.
  std::weak_ptr<Mapping> mapping;
  uint32_t* word;
  uint32_t* deaths;
};

using Claims = std::vector<std::unique_ptr<Claim>>;

// The claims of this thread. An environment belongs to one thread, and so do its hooks.
thread_local Claims claims;

void MarkDead(void* argument) {
  auto* claim = static_cast<Claim*>(argument);
  const std::shared_ptr<Mapping> mapping = claim->mapping.lock();
  if (mapping != nullptr) {
    const uint32_t word = __atomic_load_n(claim->word, __ATOMIC_SEQ_CST);
    __atomic_store_n(claim->word, (word & ~kSlotStateMask) | kSlotDead, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(claim->deaths, 1, __ATOMIC_SEQ_CST);
  }
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
  auto* deaths = reinterpret_cast<uint32_t*>(mapping->base() + offset);
  uint32_t* words = deaths + 1;
  for (int index = 0; index < count; index++) {
    uint32_t word = __atomic_load_n(&words[index], __ATOMIC_SEQ_CST);
    if ((word & kSlotStateMask) != kSlotFree) continue;
    const uint32_t claimed = (word + kSlotClaim) | kSlotLive;
    if (!__atomic_compare_exchange_n(&words[index], &word, claimed, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
      continue;
    }
    claims.push_back(std::make_unique<Claim>(Claim{mapping, &words[index], deaths}));
    napi_add_env_cleanup_hook(env, MarkDead, claims.back().get());
    return index;
  }
  return -1;
}

bool ReleaseThreadSlot(Napi::Env env, const std::shared_ptr<Mapping>& mapping, size_t offset, int index) {
  uint32_t* word = reinterpret_cast<uint32_t*>(mapping->base() + offset) + 1 + index;
  const auto claim = std::find_if(claims.begin(), claims.end(), [&](const std::unique_ptr<Claim>& held) {
    return held->word == word && held->mapping.lock() == mapping;
  });
  if (claim == claims.end()) return false;
  Forget(env, claim);
  __atomic_store_n(word, *word & ~kSlotStateMask, __ATOMIC_SEQ_CST);
  return true;
}

}  // namespace spanheap
