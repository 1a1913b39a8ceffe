import { Buffer } from 'node:buffer'
import test from 'ava'
import { readText, writeText } from '../../lib/binary/text.ts'

const UNITS = [0x41, 0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0xd7ff, 0xd800, 0xdbff, 0xdc00, 0xdfff, 0xe000, 0xfffd]

/** All texts of so many of these units. */
function* textsOf(length: number): Generator<string> {
  if (length === 0) yield ''
  else for (const text of textsOf(length - 1)) for (const unit of UNITS) yield text + String.fromCharCode(unit)
}

test('texts are UTF-8 as Buffer’s, halves of pairs too, whichever way they are written and read', (t) => {
  const bytes = new Uint8Array(200)
  for (const length of [0, 1, 2, 3]) {
    for (const text of textsOf(length)) {
      // The loop's, and the engine's.
      for (const whole of [text, 'x'.repeat(40) + text, `abc${text}d`]) {
        const end = writeText(bytes, 5, whole)
        const written = Buffer.from(bytes.buffer, 5, end - 5)
        if (Buffer.compare(written, Buffer.from(whole)) !== 0) t.fail(JSON.stringify(whole))
        if (readText(bytes, 5, end) !== written.toString()) t.fail(JSON.stringify(whole))
      }
    }
  }
  t.pass()
})

test('bytes of any kind are read as Buffer reads them', (t) => {
  const parts = [0x41, 0x7f, 0x80, 0xbf, 0xc0, 0xc3, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xff]
  for (const a of parts)
    for (const b of parts)
      for (const c of parts) {
        const bytes = Uint8Array.of(0x42, a, b, c, 0x43, 0x44)
        if (readText(bytes, 1, 6) !== Buffer.from(bytes).toString('utf8', 1, 6)) t.fail(`${[a, b, c]}`)
      }
  for (const bytes of [[0x80], [0x80, 0x80, 0x80, 0x80], [0x7f, 0x7f, 0x7f, 0x7f, 0x7f]])
    t.is(readText(Uint8Array.from(bytes), 0, bytes.length), Buffer.from(bytes).toString())
  t.is(readText(new Uint8Array(0), 0, 0), '')
})
