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
  // The word as the claim left it.
  uint32_t claimed;
};

using Claims = std::vector<std::unique_ptr<Claim>>;

// The claims of this thread. An environment belongs to one thread, and so do its hooks.
thread_local Claims claims;

void MarkDead(void* argument) {
  auto* claim = static_cast<Claim*>(argument);
  const std::shared_ptr<Mapping> mapping = claim->mapping.lock();
  if (mapping != nullptr) {
    uint32_t word = claim->claimed;
    const uint32_t dead = (word & ~kSlotStateMask) | kSlotDead;
    if (__atomic_compare_exchange_n(claim->word, &word, dead, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
      __atomic_add_fetch(claim->deaths, 1, __ATOMIC_SEQ_CST);
    }
  }
  claims.erase(std::remove_if(claims.begin(), claims.end(),
                              [claim](const std::unique_ptr<Claim>& held) { return held.get() == claim; }),
               claims.end());
}

Claims::iterator Forget(Napi::Env env, Claims::iterator claim) {
  napi_remove_env_cleanup_hook(env, MarkDead, claim->get());
  return claims.erase(claim);
}

uint32_t* WordOf(const std::shared_ptr<Mapping>& mapping, size_t offset, int index) {
  return reinterpret_cast<uint32_t*>(mapping->base() + offset) + 1 + index;
}

Claims::iterator Find(const std::shared_ptr<Mapping>& mapping, const uint32_t* word) {
  return std::find_if(claims.begin(), claims.end(), [&](const std::unique_ptr<Claim>& held) {
    return held->word == word && held->mapping.lock() == mapping;
  });
}

// Gives a slot of this thread back. False if this thread doesn't own it.
bool Free(Napi::Env env, const std::shared_ptr<Mapping>& mapping, uint32_t* word) {
  const auto claim = Find(mapping, word);
  if (claim == claims.end()) return false;
  Forget(env, claim);
  __atomic_store_n(word, *word & ~kSlotStateMask, __ATOMIC_SEQ_CST);
  return true;
}

}  // namespace

int ClaimThreadSlot(Napi::Env env, const std::shared_ptr<Mapping>& mapping, size_t offset, int count, bool is_spare) {
  for (auto claim = claims.begin(); claim != claims.end();) {
    claim = (*claim)->mapping.expired() ? Forget(env, claim) : claim + 1;
  }
  auto* deaths = reinterpret_cast<uint32_t*>(mapping->base() + offset);
  uint32_t* words = deaths + 1;
  // This thread was struck while it had the spare slot, and lives.
  if (is_spare) Free(env, mapping, words + count);
  for (int index = is_spare ? count : 0; index < count + is_spare; index++) {
    uint32_t word = __atomic_load_n(&words[index], __ATOMIC_SEQ_CST);
    const uint32_t state = word & kSlotStateMask;
    if (state != kSlotFree && !(is_spare && state == kSlotDead)) continue;
    const uint32_t claimed = ((word & ~kSlotStateMask) + kSlotClaim) | kSlotLive;
    if (!__atomic_compare_exchange_n(&words[index], &word, claimed, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
      continue;
    }
    claims.push_back(std::make_unique<Claim>(Claim{mapping, &words[index], deaths, claimed}));
    napi_add_env_cleanup_hook(env, MarkDead, claims.back().get());
    return index;
  }
  return -1;
}

bool ReleaseThreadSlot(Napi::Env env, const std::shared_ptr<Mapping>& mapping, size_t offset, int index) {
  return Free(env, mapping, WordOf(mapping, offset, index));
}

bool EndThreadSlot(Napi::Env env, const std::shared_ptr<Mapping>& mapping, size_t offset, int index) {
  const auto claim = Find(mapping, WordOf(mapping, offset, index));
  if (claim == claims.end()) return false;
  napi_remove_env_cleanup_hook(env, MarkDead, claim->get());
  MarkDead(claim->get());
  return true;
}

}  // namespace spanheap
