import type { GoHeap, TypeId, TypeLayout } from '../../lib/go/index.ts'
import { AllocatorError } from '../../lib/index.ts'
import { describeStep, type Step } from './go-steps.ts'

/** An array takes no more bytes than this. */
const MOST_ARRAY_BYTES = 64 * 1024
/** Words of an object that are written and looked at: all of a small one. */
const MOST_STAMPED = 128
const MOST_SCOPES = 5
/** Settings that are changed on the way. */
const GC_PERCENTS = [-1, 0, 1, 50, 400]
const MEMORY_LIMITS = [Number.POSITIVE_INFINITY, 0, 2 ** 22]
/** Ballast: objects so long that marking one takes a slice, with a pointer in every 1 KiB. */
const BALLAST: TypeLayout = {
  size: 64 * 1024,
  pointers: Array.from({ length: 64 }, (_, i) => i * 1024 + 8 * (i % 128)),
}

/** A block from malloc. */
interface Block {
  address: number
  size: number
  byte: number
  /** Fields that referred to it when they were written. */
  fields: { object: Node; slot: number }[]
  root: number | undefined
}

/** An object, or an array of them. */
interface Node {
  address: number
  type: GraphType
  count: number
  /** What its fields refer to, by the field's number; 0 is left out. */
  fields: Map<number, Node | Block>
  stamp: number
}

interface GraphType {
  id: TypeId
  size: number
  /** Offsets, in order. */
  pointers: number[]
  /** From one object of an array to the next. */
  stride: number
}

/** The heap and the reference differ. */
export class GraphError extends Error {
  /** The first step that wasn't done right. */
  readonly index: number

  constructor(index: number, message: string, options?: ErrorOptions) {
    super(message, options)
    this.index = index
  }
}

/**
 * The reference: a graph of objects with what roots reach in it. It does each step on the heap and on itself, and throws
 * where the two differ. A program has the addresses of what it can reach; so the reference finds objects by walking there
 * from roots, and reads the pointers on its way.
 */
export class GoGraph {
  private readonly heap: GoHeap
  private readonly types: GraphType[]
  private readonly ballast: GraphType
  private readonly words: Int32Array
  private readonly base: number
  /** All objects that may be there still. */
  private nodes: Node[] = []
  private readonly roots: { id: number; target: Node | Block }[] = []
  private readonly scopes: { scope: Disposable; nodes: Node[] }[] = []
  private readonly blocks: Block[] = []
  private newest: Node | undefined
  private stamps = 0

  /** @param base an address below all that the heap hands out from now on, a multiple of 8192; within 1 GiB */
  constructor(heap: GoHeap, layouts: readonly TypeLayout[], base: number) {
    this.heap = heap
    this.base = base
    this.words = new Int32Array(heap.buffer, base, Math.min(heap.buffer.byteLength - base, 2 ** 30) / 4)
    this.types = layouts.map((layout) => this.define(layout))
    this.ballast = this.define(BALLAST)
  }

  /** Makes objects that keep the collector busy for so many slices, each with a root. */
  load(count: number): void {
    for (let i = 0; i < count; i++) this.addRoot(this.allocate(this.ballast, 1)!)
  }

  /** Does steps in order. @throws GraphError */
  play(steps: readonly Step[]): void {
    for (const [index, step] of steps.entries()) {
      try {
        this.apply(step)
      } catch (cause) {
        throw new GraphError(index, `step ${index}, ${describeStep(step)}: ${String(cause)}`, { cause })
      }
    }
  }

  /** Looks at everything, lets go of all, and looks whether it has gone. */
  finish(): void {
    this.collect()
    while (this.scopes.length > 0) this.closeScope(this.scopes.length - 1)
    this.collect()
    while (this.roots.length > 0) this.removeRoot(this.roots.length >> 1)
    this.collect()
    while (this.blocks.length > 0) this.freeBlock(this.blocks.length - 1)
    this.collect()
    this.heap.audit()
  }

  private define(layout: TypeLayout): GraphType {
    const pointers = layout.pointers.toSorted((a, b) => a - b)
    const stride = pointers.length === 0 ? layout.size : Math.ceil(layout.size / 8) * 8
    return { id: this.heap.defineType(layout), size: layout.size, pointers, stride }
  }

  private apply({ kind, a, b, c }: Step): void {
    switch (kind) {
      case 'link': {
        const made = this.allocate(this.types[a % this.types.length]!, c % 8 === 0 ? 1 + (c >>> 3) : 1)
        if (made !== undefined) this.store(this.walk(b, a), c, made)
        break
      }
      case 'allocate':
        for (let i = 0; i <= b % 16; i++) this.allocate(this.types[(a + i) % this.types.length]!, 1)
        break
      case 'move': {
        // The target is then hidden where the collector may have been already.
        const from = this.walk(a, b)
        const field = pick(from?.fields.keys(), c)
        const to = this.walk(c, a)
        if (from === undefined || field === undefined) break
        this.store(to, b, from.fields.get(field)!)
        if (from !== to) this.write(from, field, undefined)
        break
      }
      case 'set':
        this.store(
          this.walk(a, b),
          c,
          c % 8 === 0 ? (this.blocks[b % this.blocks.length] ?? this.walk(b, c)) : this.walk(b, c)
        )
        break
      case 'clear': {
        const object = this.walk(a, b)
        const field = pick(object?.fields.keys(), c)
        if (field !== undefined) this.write(object!, field, undefined)
        break
      }
      case 'root': {
        const block = this.blocks[b % this.blocks.length]
        const target = c % 16 === 0 && block?.root === undefined ? (block ?? this.walk(a, b)) : this.walk(a, b)
        if (target !== undefined) this.addRoot(target)
        break
      }
      case 'unroot':
        if (this.roots.length > 0) this.removeRoot(a % this.roots.length)
        break
      case 'open':
        if (this.scopes.length < MOST_SCOPES) this.scopes.push({ scope: this.heap.scope(), nodes: [] })
        break
      case 'close':
        if (this.scopes.length > 0) this.closeScope(a % this.scopes.length)
        break
      case 'malloc':
        this.malloc(a, b, c)
        break
      case 'free':
        if (this.blocks.length > 0) this.freeBlock(a % this.blocks.length)
        break
      case 'slice':
        this.heap.collectStep(c % 4 === 0 ? b % 8 : 0)
        break
      case 'look':
        this.look(a, b)
        break
    }
  }

  private look(a: number, b: number): void {
    switch (a % 5) {
      case 0:
        this.collect()
        break
      case 1:
        // An audit walks the whole heap, also where nearly all of it is one block.
        if (this.held === 0) this.heap.audit()
        break
      case 2:
        this.checkReachable(this.reachable())
        break
      case 3:
        this.heap.releaseFreeMemory(...(b % 2 === 0 ? [] : [b * 100]))
        break
      case 4:
        if (b % 2 === 0) this.heap.setGCPercent(GC_PERCENTS[b % 5]!)
        else this.heap.setMemoryLimit(MEMORY_LIMITS[b % 3]!)
        break
    }
  }

  /** Undefined where there is no memory for it; then all that is dead has gone. */
  private allocate(type: GraphType, count: number): Node | undefined {
    const most = Math.max(1, Math.floor(MOST_ARRAY_BYTES / Math.max(1, type.stride)))
    const number = Math.min(count, most)
    const bytes = type.stride * number
    let address = 0
    try {
      address = number === 1 ? this.heap.allocate(type.id) : this.heap.allocate(type.id, number)
    } catch (error) {
      if (!(error instanceof AllocatorError) || error.code !== 'ERR_HEAP_OUT_OF_MEMORY') throw error
      this.checkCollected()
      // So that the program gets on.
      while (this.roots.length > 2) this.removeRoot(this.roots.length - 1)
      return undefined
    }
    const node = { address, type, count: number, fields: new Map(), stamp: ++this.stamps }
    check(this.heap.usableSize(address) >= bytes, `an object at ${address} is shorter than its ${bytes} bytes`)
    check(isZero(this.heap.view(address, bytes)), `an object at ${address} of ${bytes} bytes isn't all zero`)
    this.eachWord(node, (at, value) => {
      this.words[at] = value
    })
    this.nodes.push(node)
    this.newest = node
    // What is allocated in a scope is held by all that are open.
    for (const scope of this.scopes) scope.nodes.push(node)
    return node
  }

  private malloc(a: number, b: number, c: number): void {
    const size = c % 8 === 0 ? a * 100 : a
    const old = this.blocks[b % this.blocks.length]
    let address = 0
    try {
      if (c % 8 < 4 || old === undefined || old.root !== undefined || old.fields.length > 0) {
        address = c % 3 === 0 ? this.heap.calloc(size, 1) : this.heap.malloc(size)
        if (c % 3 === 0) check(isZero(this.heap.view(address, size)), `a block at ${address} isn't all zero`)
      } else {
        this.checkBlock(old)
        address = this.heap.realloc(old.address, size)
        this.blocks.splice(this.blocks.indexOf(old), 1)
        const kept = Math.min(size, old.size)
        check(
          this.heap.view(address, kept).every((byte) => byte === old.byte),
          `realloc lost bytes of ${kept}`
        )
      }
    } catch (error) {
      if (!(error instanceof AllocatorError) || error.code !== 'ERR_HEAP_OUT_OF_MEMORY') throw error
      this.checkCollected()
      return
    }
    const byte = ++this.stamps & 0xff
    this.heap.view(address, size).fill(byte)
    this.blocks.push({ address, size, byte, fields: [], root: undefined })
  }

  private freeBlock(index: number): void {
    const [block] = this.blocks.splice(index, 1)
    this.checkBlock(block!)
    // No field that can be read still refers to it when it goes.
    const fields = block!.fields.filter(({ object, slot }) => object.fields.get(slot) === block)
    const reachable = fields.length > 0 ? this.reachable() : undefined
    for (const { object, slot } of fields) {
      if (reachable!.has(object)) this.heap.setPointer(object.address, offsetOf(object.type, slot), 0)
      object.fields.delete(slot)
    }
    if (block!.root !== undefined) this.removeRoot(this.roots.findIndex(({ target }) => target === block))
    this.heap.free(block!.address)
  }

  private addRoot(target: Node | Block): void {
    const id = this.heap.addRoot(target.address)
    check(!this.roots.some((root) => root.id === id), `root ${id} is another's already`)
    this.roots.push({ id, target })
    if ('root' in target) target.root = id
  }

  private removeRoot(index: number): void {
    const [{ id, target }] = this.roots.splice(index, 1) as [{ id: number; target: Node | Block }]
    this.heap.removeRoot(id)
    if ('root' in target) target.root = undefined
  }

  private closeScope(index: number): void {
    this.scopes.splice(index, 1)[0]!.scope[Symbol.dispose]()
  }

  /** Stores a pointer in one of an object's fields, if it has any. */
  private store(object: Node | undefined, c: number, target: Node | Block | undefined): void {
    if (object === undefined || target === undefined || object.type.pointers.length === 0) return
    const slots = object.type.pointers.length * object.count
    this.write(object, c % 4 === 0 ? slots - 1 : (c * 31) % slots, target)
  }

  private write(object: Node, slot: number, target: Node | Block | undefined): void {
    this.heap.setPointer(object.address, offsetOf(object.type, slot), target?.address ?? 0)
    if (target === undefined) object.fields.delete(slot)
    else object.fields.set(slot, target)
    if (target !== undefined && 'root' in target) target.fields.push({ object, slot })
  }

  /** An object that the program can get at: from a root on along pointers, which are read. */
  private walk(start: number, path: number): Node | undefined {
    let node = this.rootAt(start)
    for (let steps = path % 6; steps > 0 && node !== undefined && node.fields.size > 0; steps--) {
      const slot = pick(node.fields.keys(), path >>> steps)!
      const target = node.fields.get(slot)!
      this.checkField(node, slot, target)
      if ('root' in target) break
      node = target
    }
    return node
  }

  private rootAt(start: number): Node | undefined {
    const scope = this.scopes[start % (this.scopes.length + 4)]
    if (scope !== undefined && scope.nodes.length > 0) return scope.nodes[start % scope.nodes.length]
    const target = this.roots[start % (this.roots.length + 1)]?.target ?? this.newest
    return target === undefined || 'root' in target ? this.newest : target
  }

  /** All that must be there. */
  private reachable(): Set<Node> {
    const found = new Set<Node>(this.scopes.flatMap(({ nodes }) => nodes))
    if (this.newest !== undefined) found.add(this.newest)
    for (const { target } of this.roots) if (!('root' in target)) found.add(target)
    for (const node of found) for (const target of node.fields.values()) if (!('root' in target)) found.add(target)
    return found
  }

  private collect(): void {
    this.heap.collect()
    this.checkCollected()
  }

  /** After a whole collection: all that can be reached is as it was, and all else has gone. */
  private checkCollected(): void {
    const reachable = this.reachable()
    this.checkReachable(reachable)
    const addresses = new Set(this.blocks.map(({ address }) => address))
    const units = new Set<number>()
    for (const node of reachable) {
      addresses.add(node.address)
      units.add(unitOf(node))
    }
    const { HeapObjects, Mallocs, Frees } = this.heap.memStats()
    const expected = units.size + this.blocks.length + this.held
    check(HeapObjects === expected, `there are ${HeapObjects} objects, not ${expected}`)
    check(Mallocs - Frees === HeapObjects, 'counts of objects differ')
    this.nodes = this.nodes.filter((node) => {
      if (reachable.has(node)) return true
      // Tiny objects stay with the others of their block, and an address may be another's now.
      if (addresses.has(node.address) || units.has(tinyUnit(node.address))) return false
      check(!this.isThere(node.address), `the dead object at ${node.address} is still there`)
      return false
    })
  }

  /** Blocks that were there before. */
  private get held(): number {
    return this.base === 0 ? 0 : 1
  }

  private isThere(address: number): boolean {
    try {
      this.heap.usableSize(address)
      return true
    } catch (error) {
      if (error instanceof AllocatorError) return false
      throw error
    }
  }

  private checkReachable(reachable: Set<Node>): void {
    for (const node of reachable) {
      const bytes = node.type.stride * node.count
      check(this.heap.usableSize(node.address) >= bytes, `the object at ${node.address} has become shorter`)
      this.eachWord(node, (at, value) => {
        check(
          this.words[at] === value,
          `word ${at - (node.address - this.base) / 4} of the object at ${node.address} has changed`
        )
      })
      for (const [slot, target] of node.fields) this.checkField(node, slot, target)
      const slots = node.type.pointers.length * node.count
      if (slots > 0 && !node.fields.has(slots - 1)) this.checkField(node, slots - 1, undefined)
    }
    for (const block of this.blocks) this.checkBlock(block)
  }

  private checkField(node: Node, slot: number, target: Node | Block | undefined): void {
    const found = this.heap.getPointer(node.address, offsetOf(node.type, slot))
    const expected = target?.address ?? 0
    check(found === expected, `field ${slot} of the object at ${node.address} refers to ${found}, not ${expected}`)
  }

  private checkBlock({ address, size, byte }: Block): void {
    const view = this.heap.view(address, size)
    for (let i = 0; i < size; i += i < 16 || i >= size - 16 ? 1 : 7) {
      check(view[i] === byte, `byte ${i} of the block at ${address} of ${size} bytes has changed`)
    }
  }

  /** The words of an object that hold no pointers, or some of them. */
  private eachWord({ address, type, count, stamp }: Node, visit: (at: number, value: number) => void): void {
    const first = (address - this.base) / 4
    // Tiny objects may start anywhere: the words that lie in them.
    const from = Math.ceil(first)
    const words = Math.floor((address - this.base + type.stride * count) / 4) - from
    const step = Math.max(1, Math.floor(words / MOST_STAMPED))
    for (let i = 0; i < words; i += step) {
      const offset = type.pointers.length === 0 ? -1 : ((i * 4) % type.stride) & ~7
      if (offset < 0 || !type.pointers.includes(offset)) visit(from + i, Math.imul(stamp, 0x9e3779b1) ^ i)
    }
  }
}

/** Where a field is in an array of objects. */
function offsetOf({ pointers, stride }: GraphType, slot: number): number {
  return Math.floor(slot / pointers.length) * stride + pointers[slot % pointers.length]!
}

/** What the heap counts as an object: of tiny ones, their block of 16 bytes. */
function unitOf({ address, type, count }: Node): number {
  return type.pointers.length === 0 && type.stride * count < 16 ? tinyUnit(address) : address
}

/** Not the address of anything. */
function tinyUnit(address: number): number {
  return -1 - Math.floor(address / 16)
}

/** One of the first eight. */
function pick(keys: Iterable<number> | undefined, index: number): number | undefined {
  const first: number[] = []
  for (const key of keys ?? []) if (first.push(key) === 8) break
  return first[index % first.length]
}

const ZEROS = Buffer.alloc(64 * 1024)

function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    const part = bytes.subarray(at, at + ZEROS.length)
    if (ZEROS.compare(part, 0, part.length, 0, part.length) !== 0) return false
  }
  return true
}

function check(holds: boolean, message: string): void {
  if (!holds) throw new Error(message)
}
