import { Buffer } from 'node:buffer'
import test from 'ava'
import { type Message, openSide, type Side } from '../../bench/suites/message-sides.ts'
import { messages } from '../../bench/suites/messages.ts'

const MESSAGE: Message = {
  integers: [0, 127, 128, 2 ** 31, 2 ** 32 - 1],
  doubles: [0.5, -1e300],
  texts: ['', 'short', 'ä'.repeat(100), 'x'.repeat(1000)],
  bytes: [Buffer.from([1, 2, 3]), Buffer.alloc(300, 7)],
}

test('ours and protobufjs write the same bytes, and what each writes it reads again', async (t) => {
  const [kept, one, protobufs, msgpack] = await Promise.all(
    (['kept', 'new', 'protobufjs', 'msgpack'] as const).map((side) => openSide(side))
  )
  const bytes = kept!.bytes(MESSAGE)
  t.is(Buffer.compare(one!.bytes(MESSAGE), bytes), 0)
  t.is(Buffer.compare(protobufs!.bytes(MESSAGE), bytes), 0)
  for (const codec of [kept!, one!, protobufs!, msgpack!]) {
    const read = codec.read!(codec.bytes(MESSAGE))
    t.deepEqual(read.integers, MESSAGE.integers)
    t.deepEqual(read.doubles, MESSAGE.doubles)
    t.deepEqual(read.texts, MESSAGE.texts)
    t.deepEqual(
      read.bytes.map((part) => [...part]),
      MESSAGE.bytes.map((part) => [...part])
    )
  }
})

for (const side of ['kept', 'new', 'protobufjs', 'msgpack', 'concat'] satisfies Side[]) {
  test(`messages are measured: ${side}`, async (t) => {
    const rows = ['an order: 2 integers, 2 doubles, 2 short texts, 16 bytes'] as const
    const [row] = await messages.measure({ side, rows, milliseconds: 1 })
    t.true(row!.values.write! > 0)
    t.true(side === 'concat' ? row!.values.read === null : row!.values.read! > 0)
  })
}
