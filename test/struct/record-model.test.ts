import test from 'ava'
import { Heap } from '../../lib/index.ts'
import type { FieldLayout, Fields, Struct } from '../../lib/struct/index.ts'
import type { Shape } from '../../lib/struct/shape.ts'
import { ROOT, run } from '../support/child.ts'
import { Random } from '../support/random.ts'
import { randomStruct } from '../support/random-struct.ts'

type Holder = Record<string, unknown>

const DECODER = new TextDecoder()

/** A random value that a shape takes. */
function valueFor(random: Random, shape: Shape): unknown {
  const int = () => random.below(2 ** 31) * 2 + random.below(2)
  const big = () => (BigInt(int()) << 32n) | BigInt(int())
  switch (shape.is) {
    case 'number': {
      if (shape.safe)
        return (shape.kind === 'i64' && random.below(2) === 0 ? -1 : 1) * (int() * 2 ** 20 + random.below(9))
      if (shape.kind === 'f64') return int() / 7
      if (shape.kind === 'f32') return Math.fround(int() / 7)
      if (shape.kind === 'i64') return BigInt.asIntN(64, big())
      if (shape.kind === 'u64') return big()
      const width = Number(shape.kind.slice(1))
      return Number(shape.kind[0] === 'i' ? BigInt.asIntN(width, big()) : BigInt.asUintN(width, big()))
    }
    case 'bits': {
      const value = shape.kind[0] === 'i' ? BigInt.asIntN(shape.width, big()) : BigInt.asUintN(shape.width, big())
      return shape.kind.endsWith('64') ? value : Number(value)
    }
    case 'bool':
      return random.below(2) === 1
    case 'bytes':
      return Uint8Array.from({ length: shape.length }, () => random.below(256))
    case 'text':
      return 'añb'.slice(0, 1 + random.below(3)).slice(0, Math.max(1, shape.length - 1))
    case 'pointer':
      return random.below(2 ** 31) * 16
    case 'enumeration':
      return random.pick([...shape.names.keys()])
    case 'array':
      return Array.from({ length: shape.length }, () => valueFor(random, shape.element))
    case 'struct':
      return Object.fromEntries(shape.struct.layout().fields.map((f) => [f.name, valueFor(random, f.shape)]))
  }
}

/** What the bytes say, by a DataView and the layout alone. */
function modelRead(view: DataView, at: number, shape: Shape, bits?: FieldLayout['bits']): unknown {
  if (bits !== undefined && shape.is === 'bits') {
    let value = 0n
    for (let i = 0; i < bits.width; i++) {
      const bit = bits.first + i
      if ((view.getUint8(at + (bit >> 3)) >> (bit & 7)) & 1) value |= 1n << BigInt(i)
    }
    if (shape.kind[0] === 'i') value = BigInt.asIntN(bits.width, value)
    return shape.kind.endsWith('64') ? value : Number(value)
  }
  const little = !('endian' in shape) || shape.endian !== 'big'
  switch (shape.is) {
    case 'number': {
      const value = numberAt(view, at, shape.kind, little)
      return shape.safe ? Number(value) : value
    }
    case 'enumeration': {
      const value = numberAt(view, at, shape.kind, little)
      return [...shape.names].find(([, number]) => number === value)?.[0]
    }
    case 'pointer':
      return Number(view.getBigUint64(at, little))
    case 'bool':
      return view.getUint8(at) !== 0
    case 'bytes':
      return Array.from({ length: shape.length }, (_, i) => view.getUint8(at + i))
    case 'text': {
      const bytes = Uint8Array.from({ length: shape.length }, (_, i) => view.getUint8(at + i))
      const end = bytes.indexOf(0)
      return DECODER.decode(end === -1 ? bytes : bytes.subarray(0, end))
    }
    case 'array': {
      const { element } = shape
      const size = sizeOf(element)
      return Array.from({ length: shape.length }, (_, i) => modelRead(view, at + i * size, element))
    }
    case 'struct':
      return modelRecord(view, at, shape.struct.layout().fields)
    case 'bits':
      return undefined
  }
}

function numberAt(view: DataView, at: number, kind: string, little: boolean): number | bigint {
  const names: Record<string, string> = { i: 'Int', u: 'Uint', f: 'Float' }
  const big = kind.endsWith('64') && kind[0] !== 'f' ? 'Big' : ''
  const method = `get${big}${names[kind[0]!]}${kind.slice(1)}`
  return (view as unknown as Record<string, (at: number, little: boolean) => number | bigint>)[method]!(at, little)
}

function sizeOf(shape: Shape): number {
  if (shape.is === 'array') return shape.length * sizeOf(shape.element)
  if (shape.is === 'struct') return shape.struct.layout().size
  if (shape.is === 'bytes' || shape.is === 'text') return shape.length
  if (shape.is === 'bool') return 1
  return 'kind' in shape ? Number(shape.kind.slice(1)) / 8 : 8
}

function modelRecord(view: DataView, at: number, fields: readonly FieldLayout[]): Holder {
  return Object.fromEntries(fields.map((f) => [f.name, modelRead(view, at + f.offset, f.shape, f.bits)]))
}

/** What a record says, through its properties. */
function valuesOf(record: unknown, fields: readonly FieldLayout[]): Holder {
  return Object.fromEntries(fields.map(({ name, shape }) => [name, plainOf((record as Holder)[name], shape)]))
}

function plainOf(value: unknown, shape: Shape): unknown {
  if (shape.is === 'bytes') return [...(value as Uint8Array)]
  if (shape.is === 'array') return [...(value as Iterable<unknown>)].map((element) => plainOf(element, shape.element))
  if (shape.is === 'struct') return valuesOf(value, shape.struct.layout().fields)
  return value
}

const LENGTH = 3

test('records of random structs hold what a DataView says, through every way of access', (t) => {
  const heap = new Heap({ limitBytes: 2 ** 28 })
  for (let seed = 1; seed <= 250; seed++) {
    const random = new Random(seed + 5000)
    const type: Struct<Fields, string> = randomStruct(random, `S${seed}`)
    const { fields, size } = type.layout()
    const array = type.array(heap, LENGTH)
    const columns = type.columns(heap, LENGTH)
    const single = type.alloc(heap)
    const cursor = array.cursor()
    const across = columns.cursor()
    const expected: Holder[] = Array.from({ length: LENGTH }, () => ({}))
    const view = new DataView(heap.buffer, array.address, size * LENGTH)
    for (let step = 0; step < 30; step++) {
      const { name, shape } = random.pick(fields)
      const index = random.below(LENGTH)
      const value = valueFor(random, shape)
      across.move(index).assign({ [name]: value } as never)
      single.assign({ [name]: value } as never)
      switch (random.below(4)) {
        case 0:
          ;(array.at(index) as unknown as Holder)[name] = value
          break
        case 1:
          ;(cursor.move(index) as unknown as Holder)[name] = value
          break
        case 2:
          array.column(name).set(index, value as never)
          break
        default:
          array.at(index).assign({ [name]: value } as never)
      }
      expected[index]![name] = plainOf(value, shape)
      const model = modelRecord(view, index * size, fields)
      t.deepEqual(model[name], plainOf((single as unknown as Holder)[name], shape), `seed ${seed}: ${name}`)
      t.deepEqual(valuesOf(array.at(index), fields), model, `seed ${seed}, at`)
      t.deepEqual(valuesOf(cursor, fields), valuesOf(array.at(cursor.index), fields), `seed ${seed}, cursor`)
      t.deepEqual(valuesOf(cursor.move(index), fields), model, `seed ${seed}, cursor`)
      t.deepEqual(valuesOf(across, fields), model, `seed ${seed}, columns`)
      t.deepEqual(plainOf(array.column(name).get(index), shape), model[name], `seed ${seed}, column`)
      t.deepEqual(JSON.stringify(cursor), JSON.stringify(across), `seed ${seed}, JSON`)
      for (const [key, known] of Object.entries(expected[index]!))
        t.deepEqual(model[key], known, `seed ${seed}: ${key}`)
    }
    for (const owner of [array, columns, single]) owner.free()
  }
  heap.audit()
  t.is(heap.stats().liveBytes, 0)
  heap.close()
})

test('where no code may be made from strings, all of this holds too', async (t) => {
  if (process.execArgv.includes('--disallow-code-generation-from-strings')) return t.pass()
  const ava = new URL('node_modules/ava/entrypoints/cli.mjs', `file://${ROOT}`).pathname
  const flag = '--node-arguments=--disallow-code-generation-from-strings'
  const ended = await run(
    process.execPath,
    [
      ava,
      '--no-worker-threads',
      flag,
      'dist/test/struct/record-model.test.js',
      'dist/test/struct/record.test.js',
      'dist/test/struct/lost-array-buffer.test.js',
    ],
    240
  )
  t.is(ended.status, 0, ended.stdout + ended.stderr)
})
