// Tests that debug mode fails, by file, and why: they are of what it changes on purpose (docs/debugging.md, "What differs"). A pattern that
// no test goes by fails scripts/debug-suite.mjs.

const ADDRESSES = 'a buffer is over an ArrayBuffer of its own: its byteOffset is no address'
const REUSE = 'a freed block isn’t handed out again at once: it is in quarantine'
const SIZES = 'blocks are longer by a guard, and freed ones are in quarantine: bytes are counted exactly'
const STALE = 'the test looks at a buffer after its release, which is another object at the next acquire'
const ENDED = 'buffers that were passed have length 0: what is done with them is told as that'
const OWN = 'each buffer is over an ArrayBuffer of its own: what a byte stream takes is one, and no records are lost'
const WRITES = 'the test writes to freed memory on purpose, and debug mode finds that'
const ENGINE = 'machine code, or operations, of the usual path are counted'
const SLOW = 'tens of thousands of calls at microseconds each: beyond the test’s time'

/**
 * A file whose tests all fail isn't run: it has a reason only.
 * @type {Record<string, { reason: string, tests?: RegExp[] }[]>} */
export const EXEMPT = {
  'test/buffers/kept-code.test.ts': [{ reason: ENGINE, tests: [/what was compiled for buffers stays/] }],
  'test/buffers/heap-buffers.test.ts': [
    {
      reason: ADDRESSES,
      tests: [
        /a Buffer has exactly the length asked for/,
        /the methods of Buffer do what they do on any other/,
        /every alignment up to 64 MiB holds/,
        /typed arrays of all classes/,
      ],
    },
  ],
  'test/buffers/leak-watch.test.ts': [{ reason: SLOW, tests: [/sampled: one in 8192 is told/] }],
  'test/heap/heap-costs.test.ts': [{ reason: ENGINE }],
  'test/heap/contract.test.ts': [{ reason: ADDRESSES, tests: [/an address is an offset in the heap’s buffer/] }],
  'test/heap/pass.test.ts': [
    { reason: SIZES, tests: [/a block is passed and adopted: the same bytes/, /blocks that are passed are nobody’s/] },
    { reason: REUSE, tests: [/a value is good for one adopt, also where its block is passed again/] },
    { reason: ENDED, tests: [/whoever passed a block can do nothing with it/] },
  ],
  'test/heap/wrong-free.test.ts': [
    { reason: REUSE, tests: [/medium: freed just now/, /medium: in the thread cache/, /large: freed just now/] },
    { reason: WRITES, tests: [/what a program scribbles over its blocks/] },
  ],
  'test/workers/attach-races.test.ts': [
    {
      reason: REUSE,
      tests: [/closed while a thread attaches: that one is told/, /whose place another has is refused/],
    },
  ],
  'test/lifetime/block.test.ts': [
    { reason: ADDRESSES, tests: [/a block is its address, its length and its bytes/] },
    { reason: REUSE, tests: [/every use after the end is refused/] },
  ],
  'test/lifetime/handle-table.test.ts': [{ reason: REUSE, tests: [/a handle leads to its block, and is stale/] }],
  'test/lifetime/host.test.ts': [{ reason: SIZES, tests: [/pooled and watched blocks are live/] }],
  'test/pool/buffer-pool.test.ts': [
    { reason: ADDRESSES, tests: [/all buffers are different memory/] },
    {
      reason: STALE,
      tests: [
        /what is released is handed out again, the same object/,
        /zeros at acquire, at release, and at neither/,
        /what happens to a pool is told on its channel/,
        /at max: acquire throws, tryAcquire and tryLease give nothing/,
        /a lease that ends, and an operation that ends, serve who waits/,
        /given back a moment ago is not filled with zeros/,
      ],
    },
    { reason: SIZES, tests: [/a heap that is full just when the pool grows/] },
  ],
  'test/pool/pool-costs.test.ts': [
    {
      reason: ENGINE,
      tests: [/pairs of acquire and release take nothing/, /a set takes as little/, /a shared pool takes no block/],
    },
    { reason: SIZES, tests: [/a block for each buffer/, /what was trimmed goes back/] },
  ],
  'test/pool/pass.test.ts': [
    {
      reason: ADDRESSES,
      tests: [/a buffer that was passed is nobody’s until it is adopted/, /who waits gets what another has adopted/],
    },
  ],
  'test/pool/hold.test.ts': [
    { reason: STALE, tests: [/a pool whose memory is another thread’s lease/, /a longer or later use of a part/] },
    { reason: WRITES, tests: [/what holds a buffer of a closed pool touches nothing/] },
  ],
  'test/pool/release.test.ts': [
    { reason: ADDRESSES, tests: [/a buffer is released once/] },
    { reason: STALE, tests: [/the heap of a pool frees and moves none/] },
  ],
  'test/pool/waiters-costs.test.ts': [{ reason: SLOW, tests: [/160 000 who wait/] }],
  'test/pool/pool-set.test.ts': [
    { reason: STALE, tests: [/a buffer comes from the smallest pool/] },
    { reason: ADDRESSES, tests: [/by default there are pools from 1 KiB/, /has not handed out is none of its own/] },
  ],
  'test/pool/views-in-other-workers.test.ts': [{ reason: ADDRESSES }],
  'test/heap/pass-model.test.ts': [{ reason: ADDRESSES }],
  'test/struct/lost-array-buffer.test.ts': [{ reason: OWN }],
  'test/struct/record-model.test.ts': [{ reason: OWN, tests: [/where no code may be made from strings/] }],
  'test/channel/ends.test.ts': [
    { reason: ADDRESSES, tests: [/what waits in a channel is passed/, /whose cell was scribbled over is skipped/] },
    { reason: REUSE, tests: [/who waits while the channel is closed here is told/] },
  ],
  'test/workers/heap-pass.test.ts': [{ reason: ADDRESSES }],
}
