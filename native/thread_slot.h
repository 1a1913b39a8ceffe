// Thread slots: a word of shared memory per thread that uses a heap.
#ifndef SPANHEAP_THREAD_SLOT_H_
#define SPANHEAP_THREAD_SLOT_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "mapping.h"

namespace spanheap {

// The two low bits of a slot's word. Free -> live by its claimer; live -> free by its owner; live -> dead by the hook
// that Node runs when the owner's environment ends, in whichever way; dead -> free by the thread that has cleared up
// behind it; dead -> live for the spare slot only. The bits above count the claims of the slot, to tell an owner from
// an earlier one.
enum SlotState : int32_t { kSlotFree = 0, kSlotLive = 1, kSlotDead = 2 };
constexpr uint32_t kSlotStateMask = 3;
constexpr uint32_t kSlotClaim = 4;
// More slots than any table has; arguments beyond it are wrong.
constexpr size_t kMostThreadSlots = 1 << 16;

// At `offset` is a word that counts deaths; the slots' words follow it. Claims the first free one of `count`, or the
// spare one behind these unless another live thread has it; returns its index, or -1. The claim and the hook are one
// native call, which no terminate() can interrupt.
int ClaimThreadSlot(Napi::Env env, const std::shared_ptr<Mapping>& mapping, size_t offset, int count, bool is_spare);
// Gives a slot of this thread back. False if this thread doesn't own it.
bool ReleaseThreadSlot(Napi::Env env, const std::shared_ptr<Mapping>& mapping, size_t offset, int index);
// Marks a slot of this thread dead now, as the hook would. False if this thread doesn't own it.
bool EndThreadSlot(Napi::Env env, const std::shared_ptr<Mapping>& mapping, size_t offset, int index);

}  // namespace spanheap

#endif  // SPANHEAP_THREAD_SLOT_H_
