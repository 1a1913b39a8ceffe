import { NodeRecordKind } from '../node-record.ts'
import type { ThreadLog } from './thread-log.cts'

/** Returns the object that it is given: what extends it puts its private fields on that. */
class Given {
  constructor(object: object) {
    // biome-ignore lint/correctness/noConstructorReturn: a private field on another's object is one that no program can see
    return object
  }
}

/** The number of a registration, as a private field of the object. A WeakMap would cost the collector more. */
class Stamp extends Given {
  readonly #number: number

  constructor(object: object, number: number) {
    super(object)
    this.#number = number
  }

  static of(object: object): number | undefined {
    return #number in object ? object.#number : undefined
  }
}

/** The blocks of one thread: from their allocation until the collector has found them. */
class Blocks {
  private readonly log: ThreadLog
  private readonly registry: FinalizationRegistry<number>
  /** Registrations so far. A block has the number of its first. */
  private registrations = 0
  /** Registrations of ArrayBuffers whose memory has been moved to another. */
  private readonly emptied = new Set<number>()
  /** The block of a registration that is not its first. */
  private readonly blocks = new Map<number, number>()

  constructor(log: ThreadLog) {
    this.log = log
    this.registry = new FinalizationRegistry((number) => this.collected(number))
  }

  /** A block is allocated. It lives as long as `memory`, which is stamped where its size may change or go to another. */
  allocated(
    kind: NodeRecordKind.Malloc | NodeRecordKind.Calloc,
    memory: object,
    size: number,
    isStamped: boolean
  ): void {
    const number = this.registrations
    if (!this.log.append(kind, number, size)) return
    this.registrations++
    this.registry.register(memory, number)
    if (isStamped) new Stamp(memory, number)
  }

  /** The block of an ArrayBuffer has another size. */
  resized(memory: object, size: number): void {
    const number = Stamp.of(memory)
    if (number !== undefined) this.log.append(NodeRecordKind.Realloc, this.blockOf(number), size)
  }

  /** The block of an ArrayBuffer has become another's, with another size. */
  moved(from: object, to: object, size: number): void {
    const number = Stamp.of(from)
    if (number === undefined || this.emptied.has(number)) {
      this.allocated(NodeRecordKind.Malloc, to, size, true)
      return
    }
    const block = this.blockOf(number)
    if (!this.log.append(NodeRecordKind.Realloc, block, size)) return
    this.emptied.add(number)
    const next = this.registrations++
    this.blocks.set(next, block)
    this.registry.register(to, next)
    new Stamp(to, next)
  }

  private blockOf(number: number): number {
    return this.blocks.get(number) ?? number
  }

  private collected(number: number): void {
    const block = this.blockOf(number)
    this.blocks.delete(number)
    if (!this.emptied.delete(number)) this.log.append(NodeRecordKind.Free, block, 0)
  }
}

export { Blocks }
