import { Buffer } from 'node:buffer'
import { BufferReader, BufferWriter, Heap } from 'spanheap'

/** What is written: the fields of each kind that a row has, none of the others. */
export interface Message {
  readonly integers: readonly number[]
  readonly doubles: readonly number[]
  readonly texts: readonly string[]
  readonly bytes: readonly Uint8Array[]
}

/** Who writes: one writer for all messages, one for each, or a peer. */
export type Side = 'kept' | 'new' | 'protobufjs' | 'msgpack' | 'concat'

/** The two ways of a side. What can't read by itself has one. */
export interface Codec {
  /** Writes a message, and gives up its bytes; how many there were. */
  write(message: Message): number
  /** The same, kept. */
  bytes(message: Message): Uint8Array
  /** Reads it again. */
  read?(bytes: Uint8Array): Message
}

/** Fields as in Protocol Buffers: a number and a way to skip it, in one varint; then the value. */
const enum Tag {
  Integer = 8,
  Double = 17,
  Text = 26,
  Bytes = 34,
}

export async function openSide(side: Side): Promise<Codec> {
  switch (side) {
    case 'kept': {
      const writer = new BufferWriter({ heap: new Heap() })
      return ours(() => writer)
    }
    case 'new': {
      const heap = new Heap()
      return ours(() => new BufferWriter({ heap }))
    }
    case 'protobufjs':
      return await protobufs()
    case 'msgpack':
      return await msgpack()
    case 'concat':
      return { write: (message) => concatenated(message).length, bytes: concatenated }
  }
}

function ours(open: () => BufferWriter): Codec {
  const writeTo = (writer: BufferWriter, { integers, doubles, texts, bytes }: Message) => {
    for (let i = 0; i < integers.length; i++) {
      writer.writeVarint(Tag.Integer)
      writer.writeVarint(integers[i]!)
    }
    for (let i = 0; i < doubles.length; i++) {
      writer.writeVarint(Tag.Double)
      writer.writeDoubleLE(doubles[i]!)
    }
    for (let i = 0; i < texts.length; i++) {
      writer.writeVarint(Tag.Text)
      writer.writeVarintString(texts[i]!)
    }
    for (let i = 0; i < bytes.length; i++) {
      writer.writeVarint(Tag.Bytes)
      writer.writeVarintBytes(bytes[i]!)
    }
    return writer.finish()
  }
  return {
    write(message) {
      const lease = writeTo(open(), message)
      const { length } = lease.buffer
      lease.release()
      return length
    },
    bytes(message) {
      using lease = writeTo(open(), message)
      return Buffer.from(lease.buffer)
    },
    read(source) {
      const reader = new BufferReader(source)
      const [integers, doubles, texts, bytes]: [number[], number[], string[], Uint8Array[]] = [[], [], [], []]
      while (reader.remaining > 0) {
        switch (reader.readVarint()) {
          case Tag.Integer:
            integers.push(reader.readVarint())
            break
          case Tag.Double:
            doubles.push(reader.readDoubleLE())
            break
          case Tag.Text:
            texts.push(reader.readVarintString())
            break
          case Tag.Bytes:
            bytes.push(reader.readVarintBytes())
        }
      }
      return { integers, doubles, texts, bytes }
    },
  }
}

async function protobufs(): Promise<Codec> {
  const { default: protobuf } = await import('protobufjs/minimal.js')
  const bytesOf = ({ integers, doubles, texts, bytes }: Message) => {
    const writer = protobuf.Writer.create()
    for (let i = 0; i < integers.length; i++) writer.uint32(Tag.Integer).uint32(integers[i]!)
    for (let i = 0; i < doubles.length; i++) writer.uint32(Tag.Double).double(doubles[i]!)
    for (let i = 0; i < texts.length; i++) writer.uint32(Tag.Text).string(texts[i]!)
    for (let i = 0; i < bytes.length; i++) writer.uint32(Tag.Bytes).bytes(bytes[i]!)
    return writer.finish()
  }
  return {
    write: (message) => bytesOf(message).length,
    bytes: bytesOf,
    read(source) {
      const reader = protobuf.Reader.create(source)
      const [integers, doubles, texts, bytes]: [number[], number[], string[], Uint8Array[]] = [[], [], [], []]
      while (reader.pos < reader.len) {
        switch (reader.uint32()) {
          case Tag.Integer:
            integers.push(reader.uint32())
            break
          case Tag.Double:
            doubles.push(reader.double())
            break
          case Tag.Text:
            texts.push(reader.string())
            break
          case Tag.Bytes:
            bytes.push(reader.bytes())
        }
      }
      return { integers, doubles, texts, bytes }
    },
  }
}

async function msgpack(): Promise<Codec> {
  const { Decoder, Encoder } = await import('@msgpack/msgpack')
  const encoder = new Encoder()
  const decoder = new Decoder()
  return {
    write: (message) => encoder.encode(message).length,
    bytes: (message) => encoder.encode(message),
    read: (bytes) => decoder.decode(bytes) as Message,
  }
}

/** What a program does that has nothing of the kind: a Buffer for each piece, and one for all. */
function concatenated({ integers, doubles, texts, bytes }: Message): Buffer {
  const pieces: Uint8Array[] = []
  const numbers = Buffer.allocUnsafe(integers.length * 4 + doubles.length * 8)
  let at = 0
  for (const value of integers) at = numbers.writeUInt32LE(value, at)
  for (const value of doubles) at = numbers.writeDoubleLE(value, at)
  pieces.push(numbers)
  for (const text of texts) {
    const piece = Buffer.from(text)
    const length = Buffer.allocUnsafe(4)
    length.writeUInt32LE(piece.length)
    pieces.push(length, piece)
  }
  for (const piece of bytes) {
    const length = Buffer.allocUnsafe(4)
    length.writeUInt32LE(piece.length)
    pieces.push(length, piece)
  }
  return Buffer.concat(pieces)
}
