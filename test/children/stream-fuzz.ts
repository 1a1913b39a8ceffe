// Whatever stream is written to and read through pools, no byte is another's and every promise settles: `streams.js ROUNDS SEED [NAME]`.
// Each round writes random chunks to one kind of stream, reads what comes out, and may hurt it meanwhile: by an abort, a destroy with or
// without an error, an end, a close of the pool, a reader that leaves or is slow. Buffers that are free are filled with bytes that nobody
// writes. Reports for each kind the rounds, and how many of them came to the end unhurt.
import { setImmediate, setTimeout } from 'node:timers/promises'
import { BufferPool } from '../../lib/index.ts'
import { random } from '../support/churn.ts'
import { type Line, type Next, NODE, PACKAGES } from '../support/stream-kinds.ts'

const SIZE = 16_384
/** Without progress for so long, a round is hurt from outside. */
const PATIENCE_MS = 400
/** What is left of a round must be over by then, once all of its streams were closed. */
const MOST_MS = 20_000

/** What is written at each place: all below 128, as the canary isn't. */
const byteAt = (at: number) => (at % 61 === 0 ? 0 : 1 + ((at * 31 + (at >> 8) * 7) % 126))
const CANARY = 0xee
/** With which writes are aborted: they go on nevertheless. */
const ABORTED = new Error('aborted')

const [rounds, seed, only] = process.argv.slice(2)
const kinds = { ...NODE, ...PACKAGES }
const names = only === undefined ? Object.keys(kinds) : [only]
const counts: Record<string, { rounds: number; whole: number }> = {}

class Round {
  readonly pool: BufferPool
  readonly readers = new BufferPool({ size: SIZE / 4, max: 3, trimMs: 0 })
  readonly pending = new Set<string>()
  private readonly stop = new AbortController()
  private readonly next: Next
  private readonly line: Line
  private readonly got: Buffer[] = []
  private tellEnded!: () => void
  /** All of the input is done, or it was closed. */
  private readonly ended = new Promise<void>((resolve) => {
    this.tellEnded = resolve
  })
  /** Bytes handed over. */
  private at = 0
  private progress = 0
  private isHurt = false
  private isClosed = false
  private hasFailed = false

  constructor(next: Next, line: Line, pool: BufferPool) {
    this.next = next
    this.line = line
    this.pool = pool
    const { input, output } = line
    if (!('end' in input)) return
    for (const event of ['finish', 'close']) input.once(event, () => this.tellEnded())
    // Whoever takes no callback has an event for it.
    if (output === undefined) input.once('error', () => this.noteFailure())
  }

  private noteFailure(): void {
    this.hasFailed = true
  }

  /** Runs all of it. True if every byte came. */
  async run(): Promise<boolean> {
    const { next, line } = this
    const writing = this.follow('the writer', this.writeAll())
    const reading = line.output === undefined ? undefined : this.follow('the reader', this.readAll())
    const hurting = next() % 2 === 0 ? this.hurt() : undefined
    await this.untilIdle(Promise.all([writing, reading]))
    if (line.result !== undefined && !this.isHurt && !this.hasFailed) await this.done()
    const isWhole = !this.isHurt && !this.hasFailed
    if (isWhole && line.result !== undefined) this.got.push(await line.result())
    this.check(isWhole)
    this.isHurt = true
    this.stop.abort()
    await hurting
    await line.close()
    await this.over('of writes and reads', () => this.pending.size === 0)
    await this.over('of leases', () => this.pool.stats().leased + this.readers.stats().leased === 0)
    this.check(false)
    for (const pool of [this.pool, this.readers]) await pool[Symbol.asyncDispose]()
    return isWhole
  }

  /** Waits until the input is done with all that it has, whoever waits for it. */
  private async done(): Promise<void> {
    if ('end' in this.line.input) await Promise.race([this.ended, setTimeout(MOST_MS)])
    else await this.over('of writes', () => this.pool.stats().leased === 0)
  }

  /** Notes a promise that must be settled in the end. */
  private async follow(what: string, promise: Promise<unknown>): Promise<void> {
    const name = `${what} ${this.progress}`
    this.pending.add(name)
    try {
      await promise
    } catch (error) {
      if (error !== ABORTED) this.hasFailed = true
    } finally {
      this.progress++
      this.pending.delete(name)
    }
  }

  private async writeAll(): Promise<void> {
    const { next, pool, line } = this
    const total = next() % (20 * SIZE)
    while (this.at < total && !this.hasFailed && !this.isHurt) {
      const buffer = await pool.acquireAsync({ signal: this.stop.signal })
      const length = Math.min(1 + (next() % SIZE), total - this.at)
      for (let i = 0; i < length; i++) buffer[i] = byteAt(this.at + i)
      this.at += length
      const controller = next() % 8 === 0 ? new AbortController() : undefined
      const data = buffer.subarray(0, length)
      // Of several writes at once a file says only so which is which.
      const options = {
        ...('end' in line.input ? {} : { position: this.at - length }),
        ...(controller && { signal: controller.signal }),
      }
      const written = this.follow('write', pool.write(line.input, data, options))
      if (controller !== undefined) void this.wait().then(() => controller.abort(ABORTED))
      const isEarly = next() % 2 === 0
      if (isEarly) pool.release(buffer)
      if (!isEarly || next() % 3 > 0) await written
      if (!isEarly) pool.release(buffer)
      this.others()
    }
    if ('end' in line.input) line.input.end()
  }

  /** Others have what is free. */
  private others(): void {
    const buffers: Buffer[] = []
    for (let buffer = this.take(); buffer !== undefined; buffer = this.take()) buffers.push(buffer.fill(CANARY))
    for (const buffer of buffers) this.pool.release(buffer)
  }

  private take(): Buffer | undefined {
    return !this.isClosed ? this.pool.tryAcquire() : undefined
  }

  private async readAll(): Promise<void> {
    const { next } = this
    const leaves = next() % 4 === 0 ? next() % 20 : Number.POSITIVE_INFINITY
    const isSlow = next() % 4 === 0
    const source = this.line.output!
    for await (const chunk of this.readers.read(source, { signal: this.stop.signal })) {
      if (isSlow) await setTimeout(next() % 4)
      this.got.push(Buffer.from(chunk))
      this.progress++
      if (this.got.length > leaves) {
        this.isHurt = true
        break
      }
    }
  }

  private async hurt(): Promise<void> {
    const { next, line, pool } = this
    await this.wait()
    if (next() % 4 === 0) await setTimeout(next() % 30)
    const close = () => {
      this.isClosed = true
      pool.close()
    }
    const ways = [...line.hurts, close, () => 'end' in line.input && line.input.end()]
    this.isHurt = true
    ways[next() % ways.length]!()
    for (let turn = 0; turn < 10; turn++) {
      this.others()
      await this.wait()
    }
  }

  /** Until something is done, or for some time nothing has happened. */
  private async untilIdle(done: Promise<unknown>): Promise<void> {
    let isDone = false
    void done.finally(() => {
      isDone = true
    })
    for (let before = -1; !isDone && before !== this.progress; ) {
      before = this.progress
      for (let ms = 0; ms < PATIENCE_MS && !isDone; ms += 5) await setTimeout(ms < 50 ? 1 : 5)
    }
    if (!isDone) this.isHurt = true
  }

  private async over(what: string, test: () => boolean): Promise<void> {
    const end = performance.now() + MOST_MS
    while (!test()) {
      this.others()
      await setImmediate()
      if (performance.now() > end)
        throw new Error(`${what} there are left: ${[...this.pending]}, ${this.pool.stats().leased} leased`)
    }
  }

  /** What came is what was written, as far as it came. */
  private check(isWhole: boolean): void {
    const all = Buffer.concat(this.got)
    for (let at = 0; at < all.length; at++)
      if (all[at] !== byteAt(at)) throw new Error(`byte ${at} is ${all[at]}, and should be ${byteAt(at)}`)
    if (isWhole && all.length !== this.at) throw new Error(`${all.length} of ${this.at} bytes came`)
  }

  /** At once, in a microtask, in the next turn or after a moment. */
  private async wait(): Promise<void> {
    const choice = this.next() % 4
    if (choice === 1) await Promise.resolve()
    else if (choice === 2) await setImmediate()
    else if (choice === 3) await setTimeout(this.next() % 5)
  }
}

let now = ''
for (const event of ['uncaughtException', 'unhandledRejection'])
  process.on(event, (error) => {
    // Node's adapters of web streams throw out of nowhere when these are destroyed.
    if (error instanceof Error && error.stack?.includes('node:internal/webstreams/')) return
    process.stderr.write(`${now} ${error instanceof Error ? error.stack : error}\n`, () => process.exit(1))
  })
for (let round = 0; round < Number(rounds); round++) {
  const name = names[round % names.length]!
  const own = Number(seed) + round
  now = `${name}, of rounds 1 with the seed ${own}:`
  const next = random(own)
  for (let i = 0; i < 8; i++) next()
  const pool = new BufferPool({ size: SIZE, max: 6, trimMs: 0 })
  const line = await kinds[name]!(next, pool)
  const isWhole = await new Round(next, line, pool).run()
  counts[name] ??= { rounds: 0, whole: 0 }
  counts[name].rounds++
  if (isWhole) counts[name].whole++
}
process.stdout.write(`${JSON.stringify(counts)}\n`, () => process.exit(0))
