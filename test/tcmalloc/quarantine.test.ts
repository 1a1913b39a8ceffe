import test from 'ava'
import fc from 'fast-check'
import { Granule } from '../../lib/memory/page.ts'
import type { Mapping } from '../../lib/os/mapper.ts'
import { ObjectState } from '../../lib/tcmalloc/object-state.ts'
import { POISON, QUARANTINE_WORDS, Quarantine } from '../../lib/tcmalloc/quarantine.ts'
import { SlotState, ThreadSlots, threadSlotWords } from '../../lib/threads/thread-slots.ts'

const MIB = 2 ** 20
/** Blocks of these tests are all so long, in bytes, one behind the other. */
const BYTES = 64

/** Tiers that know the state of a block, and note which were freed. */
function openTiers(blocks: number, usable = BYTES) {
  const memory = new ArrayBuffer(Math.min(blocks * usable, 64 * MIB))
  const states = new Int8Array(blocks * (usable / Granule.Bytes) + 1)
  const slots = new ThreadSlots(new Int32Array(threadSlotWords(9)).fill(SlotState.Live, 1, 2))
  const freed: number[] = []
  const tiers = {
    mapping: { unshared: () => memory } as unknown as Mapping,
    quarantineWords: new Int32Array(new SharedArrayBuffer(QUARANTINE_WORDS * 4)),
    member: { thread: () => ({ slots, slot: 0, tag: slots.tag(0) }) },
    stateOf: (granule: number) => states[granule]!,
    changeState: (granule: number, from: ObjectState, to: ObjectState) => {
      if (states[granule] !== from) return false
      states[granule] = to
      return true
    },
    usableBytes: () => usable,
    owned: 0,
    countOwned(_granule: number, times: number) {
      this.owned += times
    },
    freeUnowned: (granule: number, from: ObjectState) => {
      if (states[granule] !== from) return
      states[granule] = ObjectState.Free
      freed.push(granule)
    },
  }
  return { tiers, states, freed, bytes: new Uint8Array(memory), quarantine: new Quarantine(tiers) }
}

/** A granule whose block is handed out. Granule 0 is none. */
const blockAt = (states: Int8Array, number: number, usable = BYTES) => {
  const granule = number * (usable / Granule.Bytes)
  states[granule] = ObjectState.Live
  return granule
}

test('blocks leave in the order in which they came, when there are 7936, or 16 MiB', (t) => {
  for (const { usable, most } of [
    { usable: BYTES, most: 7936 },
    { usable: MIB, most: 16 },
  ]) {
    const { quarantine, states, freed } = openTiers(usable === BYTES ? 9000 : 32, usable)
    const entered: number[] = []
    for (let i = 1; i <= most + 10; i++) {
      const granule = blockAt(states, i, usable)
      t.deepEqual(quarantine.makeRoom(usable, false), [])
      t.true(quarantine.enter(granule, ObjectState.Live))
      entered.push(granule)
    }
    t.is(quarantine.blocks, most)
    t.is(quarantine.bytes, most * usable)
    t.deepEqual(freed, entered.slice(0, 10))
    t.is(quarantine.freeIntact(), most)
    t.deepEqual(freed, entered)
    t.is(quarantine.bytes, 0)
  }
  const { quarantine } = openTiers(1)
  t.true(quarantine.takes(16 * MIB))
  t.false(quarantine.takes(16 * MIB + 1))
})

test('only what is in the state that it is said to be in comes in, and once', (t) => {
  const { tiers, quarantine, states } = openTiers(10)
  for (const state of [
    ObjectState.None,
    ObjectState.Free,
    ObjectState.Watched,
    ObjectState.Pooled,
    ObjectState.Isolated,
  ]) {
    states[4] = state
    t.false(quarantine.enter(4, ObjectState.Live))
    t.is(states[4], state)
  }
  states[4] = ObjectState.Live
  t.true(quarantine.enter(4, ObjectState.Live))
  t.is(states[4], ObjectState.Quarantined)
  t.false(quarantine.enter(4, ObjectState.Live))
  t.false(quarantine.enter(4, ObjectState.Quarantined))
  // Struck where its state would be changed, it would look like one that isn't in the ring yet.
  tiers.changeState = () => {
    throw new Error('struck')
  }
  t.false(quarantine.enter(4, ObjectState.Live))
  quarantine.holding(() => {})
  t.is(quarantine.blocks, 1)
  t.is(tiers.owned, -1)
})

test('a block that was written to stops who makes room, and is as it was then; who passes frees it', (t) => {
  const { quarantine, states, bytes, freed } = openTiers(20)
  const blocks = [1, 2, 3].map((number) => blockAt(states, number))
  for (const granule of blocks) quarantine.enter(granule, ObjectState.Live)
  const [first, second, third] = blocks as [number, number, number]
  t.true(bytes.subarray(first * 16, first * 16 + BYTES).every((byte) => byte === (POISON & 0xff)))
  bytes[second * 16 + 9] = 0
  t.is(quarantine.freeIntact(), 1)
  t.deepEqual(quarantine.makeRoom(Number.POSITIVE_INFINITY, false), [{ granule: second, offset: 9 }])
  t.deepEqual(freed, [first])
  t.is(quarantine.blocks, 2)
  t.deepEqual(quarantine.inspect(), [])
  bytes[second * 16] = 0xde
  bytes[third * 16 + BYTES - 1] = 0xdc
  const found = [
    { granule: second, offset: 0 },
    { granule: third, offset: BYTES - 1 },
  ]
  t.deepEqual(quarantine.inspect(), found)
  bytes[second * 16] = 0xde
  bytes[third * 16 + BYTES - 1] = 0xdc
  t.deepEqual(quarantine.makeRoom(Number.POSITIVE_INFINITY, true), found)
  t.deepEqual(freed, blocks)
})

test('the first byte that is neither of two fillings is found, at any offset and length', (t) => {
  const { quarantine, bytes } = openTiers(10)
  const fillings = fc.constantFrom(0, 0xdd)
  const place = fc.record({
    length: fc.integer({ min: 1, max: 70 }),
    words: fc.array(fillings, { minLength: 18, maxLength: 18 }),
    at: fc.nat(69),
    value: fc.integer({ min: 1, max: 0xff }).filter((value) => value !== 0xdd),
  })
  fc.assert(
    fc.property(place, ({ length, words, at, value }) => {
      for (const [index, word] of words.entries()) bytes.fill(word, 16 + index * 4, 20 + index * 4)
      if (quarantine.firstWrite(1, length, POISON, 0) !== -1) return false
      bytes[16 + at] = value
      if (quarantine.firstWrite(1, length, POISON, 0) !== (at < length ? at : -1)) return false
      bytes.fill(0, 16, 16 + 72)
      if (quarantine.firstWrite(1, length, 0) !== -1) return false
      bytes[16 + at] = 0xdd
      return quarantine.firstWrite(1, length, 0) === (at < length ? at : -1)
    })
  )
  bytes.fill(0xdd, 16, 32)
  bytes[18] = 0
  t.is(quarantine.firstWrite(1, 16, POISON, 0), 0, 'a word of both was written to')
  t.is(quarantine.firstWrite(1, 16, POISON), 2)
})

test('it does what a list does, whatever is struck and mended in between', (t) => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('enter' as const), block: fc.integer({ min: 1, max: 30 }) }),
    fc.record({ kind: fc.constant('room' as const), bytes: fc.constantFrom(0, MIB * 16 - 3 * BYTES, MIB * 16) }),
    fc.record({ kind: fc.constant('write' as const), block: fc.integer({ min: 1, max: 30 }) }),
    fc.record({
      kind: fc.constant('strike' as const),
      block: fc.integer({ min: 1, max: 30 }),
      at: fc.constantFrom('enter', 'poison', 'leave', 'freed'),
    })
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const { tiers, quarantine, states, bytes, freed } = openTiers(32)
      const list: number[] = []
      const written = new Set<number>()
      const known: number[] = []
      for (const one of steps) {
        if (one.kind === 'enter') {
          const granule = one.block * 4
          if (states[granule] !== ObjectState.Quarantined) {
            states[granule] = ObjectState.Live
            if (!quarantine.enter(granule, ObjectState.Live)) return false
            list.push(granule)
          } else if (quarantine.enter(granule, ObjectState.Live)) return false
        } else if (one.kind === 'write') {
          if (list.includes(one.block * 4)) {
            bytes[one.block * 64 + 5] = 1
            written.add(one.block * 4)
          }
        } else if (one.kind === 'room') {
          const most = (16 * MIB - one.bytes) / BYTES
          const found = quarantine.makeRoom(one.bytes, false)
          while (list.length > most && !written.has(list[0]!)) known.push(list.shift()!)
          const expected = list.length > most ? [{ granule: list[0]!, offset: 5 }] : []
          if (expected.length > 0) written.delete(list[0]!)
          if (JSON.stringify(found) !== JSON.stringify(expected)) return false
        } else {
          const granule = one.block * 4
          const [entering, leaving] = [35, 36]
          const struck = () => {
            throw new Error('struck')
          }
          if (one.at === 'enter' || one.at === 'poison') {
            if (states[granule] === ObjectState.Quarantined) continue
            states[granule] = ObjectState.Live
            // Struck before its state was changed, or after.
            tiers.quarantineWords[entering] = granule
            if (one.at === 'poison') {
              states[granule] = ObjectState.Quarantined
              list.push(granule)
            }
          } else if (list.length > 0 && !written.has(list[0]!)) {
            const before = tiers.freeUnowned
            tiers.freeUnowned = (...args) => {
              if (one.at === 'freed') before(...args)
              struck()
            }
            t.throws(() => quarantine.makeRoom(16 * MIB, false), { message: 'struck' })
            tiers.freeUnowned = before
            if (tiers.quarantineWords[leaving] === 0) return false
            known.push(list.shift()!)
            if (quarantine.inspect().length !== written.size) return false
            written.clear()
          }
        }
        quarantine.holding(() => {})
        if (quarantine.blocks !== list.length || quarantine.bytes !== list.length * BYTES) return false
        if (freed.join() !== known.join()) return false
      }
      return true
    })
  )
  t.pass()
})
