// A CommonJS program that looks at what the recorder has replaced, and at how it was started itself; prints what isn't as in
// a program that isn't recorded.
import assert = require('node:assert')
import buffer = require('node:buffer')
import util = require('node:util')
import vm = require('node:vm')

/** Node's own, which another process has told: 8 KiB, and 64 KiB from Node 24 on. */
const POOL_SIZE = Number(process.argv[2])
/** What the pool has beyond: nothing, and 64 bytes from Node 26 on. */
const POOL_MORE = Number(process.argv[3])

const order: string[] = []
process.nextTick(() => order.push('tick'))
void Promise.resolve().then(() => order.push('promise'))

const differences: string[] = []
function check(what: string, value: unknown): void {
  if (value !== true) differences.push(what)
}

class Frame extends Buffer {}
class Sound extends Float32Array {}

const bytes = Buffer.from('abc')
check('require.main', require.main === module)
check('names', Buffer.name === 'Buffer' && Uint8Array.name === 'Uint8Array' && ArrayBuffer.name === 'ArrayBuffer')
check('lengths', Buffer.length === 3 && Buffer.alloc.length === 3 && Uint8Array.length === 3)
check('names of methods', Buffer.allocUnsafe.name === 'allocUnsafe' && Buffer.from.name === 'from')
check('one Buffer', buffer.Buffer === Buffer && globalThis.Buffer === Buffer && bytes.constructor === Buffer)
check('prototypes', Object.getPrototypeOf(Buffer) === Uint8Array && Object.getPrototypeOf(bytes) === Buffer.prototype)
check('instanceof', bytes instanceof Buffer && bytes instanceof Uint8Array && Buffer.isBuffer(bytes))
check('of the same kind', new Uint8Array(2).slice().constructor === Uint8Array && bytes.map((b) => b) instanceof Buffer)
check('a subclass', new Sound(3) instanceof Sound && new Sound(3).map((x) => x) instanceof Sound)
check('a subclass of Buffer', Object.getPrototypeOf(Frame) === Buffer && Buffer.isBuffer(Frame.from('x')))
check('species', (ArrayBuffer as unknown as Record<symbol, unknown>)[Symbol.species] === ArrayBuffer)
check('slice', new ArrayBuffer(8).slice(2) instanceof ArrayBuffer)
check('clone', structuredClone(new Uint8Array([1, 2])).constructor === Uint8Array)
check('clone of a buffer', structuredClone(new ArrayBuffer(3)) instanceof ArrayBuffer)
check(
  'inspect',
  util.inspect(bytes) === '<Buffer 61 62 63>' && util.inspect(new Uint8Array(1)) === 'Uint8Array(1) [ 0 ]'
)
// The one thing that shows: Node 26 says of a proxy that it is one.
check(
  'inspect a constructor',
  /^(\[Function: Uint8Array\]|Proxy\(\[Function: Uint8Array\]\))$/.test(util.inspect(Uint8Array))
)
check(
  'inspect Buffer',
  util.inspect(Buffer).startsWith(`[Function: Buffer] {\n  poolSize: ${POOL_SIZE},\n  from: [Function: from],`)
)
check('equality', util.isDeepStrictEqual(bytes, Buffer.from('abc')))
check('static constants', Float64Array.BYTES_PER_ELEMENT === 8 && Buffer.poolSize === POOL_SIZE)
check(
  'a call without new',
  throws(() => (Uint8Array as unknown as () => void)(), TypeError)
)
check(
  'an argument out of range',
  throws(() => Buffer.alloc(-1), RangeError) && throws(() => new ArrayBuffer(-1), RangeError)
)
check('another realm', vm.runInNewContext('new Uint8Array(3).length') === 3)
check('keys', !Object.keys(globalThis).includes('Buffer') && Object.keys(bytes).join() === '0,1,2')
check('the pool', Buffer.allocUnsafe(10).buffer.byteLength === Buffer.poolSize + POOL_MORE)
Buffer.poolSize = 100_000
check('another pool size', poolsOf(20).has(100_000 + POOL_MORE))

function throws(call: () => void, kind: new () => Error): boolean {
  try {
    call()
    return false
  } catch (error) {
    return error instanceof kind
  }
}

function poolsOf(count: number): Set<number> {
  return new Set(Array.from({ length: count }, () => Buffer.allocUnsafe(4000).buffer.byteLength))
}

setImmediate(() => {
  check('the order of callbacks', order.join() === 'tick,promise')
  assert.deepEqual(differences, [])
  process.stdout.write(JSON.stringify(differences))
})
