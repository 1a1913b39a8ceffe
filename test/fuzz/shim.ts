import fc from 'fast-check'
import { type Addon, isAddon, loadAddon } from '../../lib/os/addon.ts'

const MIB = 2 ** 20
/** Blocks and reservations that are kept to be passed again; the oldest make room. */
const MOST_KEPT = 8
/** What one case may reserve or map, so that the machine isn't filled. Beyond, only what no system has is asked for. */
const MOST_MAPPED = 64 * MIB

// Node's types leave it to those of browsers.
const { WebAssembly } = globalThis as unknown as {
  WebAssembly: { Memory: new (size: { initial: number }) => { buffer: ArrayBuffer } }
}

type Call = (...args: unknown[]) => unknown

/** Values that calls gave, to be passed to others, also where they are wrong. */
class Kept {
  private readonly values: unknown[] = []

  add(value: unknown): void {
    if (this.values.push(value) > MOST_KEPT) this.values.shift()
  }

  at(index: number): unknown {
    return this.values.length === 0 ? undefined : this.values[index % this.values.length]
  }
}

const number = fc.oneof(
  fc.constantFrom(0, -0, 1, 3, 4, 16, 4095, 4096, 8192, MIB, 2 ** 31, 2 ** 32, 2 ** 40, 2 ** 47, 2 ** 52, 2 ** 53 - 1),
  fc.constantFrom(
    -1,
    -4096,
    -(2 ** 31),
    -(2 ** 63),
    2 ** 53,
    2 ** 63,
    2 ** 64,
    1e308,
    Number.NaN,
    Infinity,
    -Infinity,
    0.5
  ),
  fc.nat({ max: 4 * MIB }),
  fc.nat({ max: 1024 }).map((pages) => pages * 4096)
)
const other = fc.constantFrom<() => unknown>(
  () => undefined,
  () => null,
  () => true,
  () => false,
  () => '',
  () => '/',
  () => '/proc/self/mem/none',
  () => 'a\0b',
  () => 4096n,
  () => Symbol('s'),
  () => ({}),
  () => [],
  () => ({ valueOf: () => 4096 }),
  () => new ArrayBuffer(8),
  () => new ArrayBuffer(0),
  () => new SharedArrayBuffer(8),
  () => new ArrayBuffer(8, { maxByteLength: 64 }),
  () => structuredClone(new ArrayBuffer(8)),
  () => detachedBuffer(),
  () => new Uint8Array(8),
  () => new WebAssembly.Memory({ initial: 1 }).buffer, // no detach is allowed
  () => new Proxy({}, {}),
  () => () => 1,
  () => (process.stdout as unknown as { _handle?: { _externalStream?: unknown } })._handle?._externalStream
)
/** Of what kind an argument is; a kept value of its own kind is likely, so that calls come through. */
const argument = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kept: fc.nat({ max: MOST_KEPT - 1 }) }) },
  { weight: 4, arbitrary: fc.record({ number }) },
  { weight: 2, arbitrary: fc.record({ other }) }
)
type Argument = typeof argument extends fc.Arbitrary<infer T> ? T : never

/** What each argument of a call is when it is right. */
const SIGNATURES: Readonly<
  Record<string, readonly ('ledger' | 'mapping' | 'number' | 'flag' | 'buffer' | 'address' | 'path')[]>
> = {
  openLedger: [],
  ledgerCounts: ['ledger'],
  keepRing: ['ledger', 'number'],
  ledgerRing: ['ledger'],
  writeLedgerTo: ['ledger', 'path'],
  flushLedgerFile: ['ledger'],
  reserve: ['ledger', 'number', 'number', 'flag', 'number', 'flag'],
  adopt: ['buffer'],
  unshared: ['mapping', 'number', 'number'],
  grow: ['mapping', 'number', 'number'],
  release: ['mapping', 'number', 'number'],
  claimSlot: ['mapping', 'number', 'number', 'flag'],
  freeSlot: ['mapping', 'number', 'number'],
  endSlot: ['mapping', 'number', 'number'],
  isolate: ['mapping', 'number', 'number', 'mapping', 'number', 'number'],
  offsetIn: ['mapping', 'buffer'],
  takeCollected: ['mapping', 'mapping', 'number'],
  releaseRest: ['mapping', 'number', 'number'],
  detach: ['buffer'],
  map: ['ledger', 'number'],
  unmap: ['ledger', 'address', 'number'],
  bufferOver: ['address', 'number'],
  copy: ['address', 'address', 'number'],
  touch: ['address', 'number', 'number'],
  keepMappingsAtExit: [],
}

function detachedBuffer(): ArrayBuffer {
  const buffer = new ArrayBuffer(8)
  structuredClone(buffer, { transfer: [buffer] })
  return buffer
}

/** The shim's functions are called with anything: an exception, an error number or a result comes out, and the process lives. */
export function fuzzShim(seed: number, cases: number, note: (text: string) => void): void {
  const addon = loadAddon()
  if (!isAddon(addon)) throw new Error(`the shim can't be fuzzed: ${addon.reason}`)
  const call = fc.record({
    name: fc.constantFrom(...Object.keys(SIGNATURES)),
    args: fc.array(argument, { minLength: 6, maxLength: 6 }),
    count: fc.nat({ max: 6 }),
    isWild: fc.boolean(),
  })
  new Session(addon).play(fc.sample(call, { seed, numRuns: cases }), (index, text) =>
    note(`shim, seed ${seed}, case ${index}: ${text}`)
  )
}

class Session {
  private readonly kept = {
    ledger: new Kept(),
    mapping: new Kept(),
    buffer: new Kept(),
    address: new Kept(),
    number: new Kept(),
    flag: new Kept(),
    path: new Kept(),
  }
  private readonly addon: Addon

  constructor(addon: Addon) {
    this.addon = addon
    this.kept.ledger.add(addon.openLedger())
    for (const value of [0, 4096, 8192, 65_536, MIB]) this.kept.number.add(value)
    for (const value of [true, false]) this.kept.flag.add(value)
    for (const value of ['/dev/null', '/nowhere/at/all', '']) this.kept.path.add(value)
  }

  play(
    calls: readonly { name: string; args: Argument[]; count: number; isWild: boolean }[],
    note: (index: number, text: string) => void
  ): void {
    for (const [index, { name, args, count, isWild }] of calls.entries()) {
      const kinds = SIGNATURES[name]!
      const values = args.map((one, place) => this.valueOf(one, kinds[place] ?? 'number', isWild))
      const passed = isWild ? values.slice(0, count) : values.slice(0, kinds.length)
      if (isTooMuch(name, passed)) continue
      note(index, `${name}(${passed.map(describe).join(', ')})`)
      try {
        this.keep((this.addon as unknown as Record<string, Call>)[name]!(...passed), name, passed)
      } catch (error) {
        if (!(error instanceof Error)) throw error
      }
    }
  }

  private valueOf(argument: Argument, kind: keyof Session['kept'], isWild: boolean): unknown {
    if ('kept' in argument || (!isWild && kind !== 'number')) {
      const at = 'kept' in argument ? argument.kept : 0
      return this.kept[kind].at(at)
    }
    return 'number' in argument ? argument.number : argument.other()
  }

  private keep(result: unknown, name: string, args: readonly unknown[]): void {
    const { kept } = this
    if (name === 'openLedger') kept.ledger.add(result)
    if (name === 'map' && typeof result === 'number' && result > 0) {
      kept.address.add(result)
      kept.number.add(args[1])
    }
    if ((name === 'reserve' || name === 'adopt') && typeof result === 'object') {
      const { handle, buffer } = result as { handle: unknown; buffer?: unknown }
      kept.mapping.add(handle)
      if (buffer !== undefined) kept.buffer.add(buffer)
    }
    if ((name === 'bufferOver' || name === 'unshared' || name === 'isolate') && result !== undefined)
      kept.buffer.add(result)
  }
}

/** Memory that the system would really give: enough of that. And a ring of entries that fills the machine is the caller's wish. */
function isTooMuch(name: string, args: readonly unknown[]): boolean {
  if (name !== 'map' && name !== 'grow' && name !== 'touch') return false
  const length = args[name === 'grow' ? 2 : 1]
  return typeof length === 'number' && length > MOST_MAPPED && length < 2 ** 47
}

function describe(value: unknown): string {
  return typeof value === 'object' && value !== null ? Object.prototype.toString.call(value) : String(value)
}
