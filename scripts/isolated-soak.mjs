// Isolated buffers in every hand at once: kept as slices, cloned, transferred to workers and back, written to a socket and to a file while they
// are dropped or freed, until so many have been made. Every byte is looked at, and in the end nothing may be live. Build first.
//
//     node --expose-gc scripts/isolated-soak.mjs [--buffers 1000000] [--workers 2] [--seed 1] [--stray]
//
// With --stray the program frees buffers while Node writes them, which it mustn't: scripts/isolated-asan.mjs has to see that.
//
// The last line is JSON; the exit status is 1 if a byte was wrong, or anything stayed live.
import { once } from 'node:events'
import { open, unlink } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { BufferPool, Heap } from '../dist/lib/index.js'

/** Buffers that are made between two turns of the event loop. */
const ROUND = 200
/** Operations of one kind that may be under way. */
const MOST_UNDER_WAY = 64
const LIMIT_BYTES = 4 * 2 ** 30
/** The file is read back, and begun anew, when it is so long. */
const FILE_BYTES = 32 * 2 ** 20

/** Numbers below 2^24, by a seed. */
function random(seed) {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state >>> 8
  }
}

/** Most are small, a few have pages of their own. */
function sizeOf(next) {
  const kind = next() % 100
  if (kind < 85) return 1 + (next() % 4096)
  return kind < 99 ? 1 + (next() % 65_536) : 262_144 + (next() % 2 ** 20)
}

/** Whether a view has as many bytes as it should have, and all of them are the one that they were filled with. */
function isRight({ view, byte, length }) {
  const bytes = Buffer.from(view.buffer, view.byteOffset, view.byteLength)
  return bytes.length === length && (length === 0 || bytes.equals(Buffer.alloc(length, byte)))
}

/** A worker looks at what it is sent; it frees a third, drops a third, and sends the others back. */
function work({ token, seed }) {
  const heap = Heap.attach(token)
  const next = random(seed)
  let wrong = 0
  parentPort.on('message', (sent) => {
    if (sent === 'end') {
      parentPort.postMessage({ wrong })
      return
    }
    const back = []
    for (const one of sent) {
      if (!isRight(one)) wrong++
      const fate = next() % 3
      if (fate === 0) heap.freeBuffer(one.view)
      else if (fate === 1) back.push(one)
    }
    parentPort.postMessage(
      { back },
      back.map(({ view }) => view.buffer)
    )
  })
}

/** The main thread makes them, and gives them to all the others. */
async function soak({ buffers, workers: workerCount, seed }, stray) {
  const heap = new Heap({ limitBytes: LIMIT_BYTES, leaks: 'all' })
  const pool = new BufferPool({ heap, size: 4096 })
  const next = random(seed)
  const tally = { buffers: 0, wrong: 0, freed: 0, dropped: 0, moved: 0, sent: 0, returned: 0, socket: 0, file: 0 }
  let kept = []
  const look = (one) => {
    if (!isRight(one)) tally.wrong++
  }
  const free = (one) => {
    look(one)
    heap.freeBuffer(one.view)
    if (one.view.length !== 0) tally.wrong++
    tally.freed++
  }

  const workers = Array.from({ length: workerCount }, (_, i) => {
    const worker = new Worker(fileURLToPath(import.meta.url), {
      workerData: { token: heap.share(), seed: seed + i + 1 },
    })
    worker.underWay = 0
    worker.on('error', (error) => {
      throw error
    })
    worker.on('message', ({ back, wrong }) => {
      if (wrong !== undefined) {
        tally.wrong += wrong
        worker.emit('done')
        return
      }
      worker.underWay--
      for (const one of back) {
        tally.returned++
        look(one)
        if (next() % 2 === 0) free(one)
      }
    })
    return worker
  })

  // What is written to the socket is looked at where it arrives, against what was written.
  const expected = []
  const server = net.createServer((peer) => {
    peer.on('data', (data) => {
      for (let at = 0; at < data.length; ) {
        const first = expected[0]
        const length = Math.min(first.left, data.length - at)
        if (!isRight({ view: data.subarray(at, at + length), byte: first.byte, length })) tally.wrong++
        at += length
        first.left -= length
        if (first.left === 0) expected.shift()
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = net.connect(server.address().port, '127.0.0.1')
  await once(socket, 'connect')
  let onSocket = 0

  // What is written to the file is read back, when there is enough of it.
  const path = join(tmpdir(), `spanheap-isolated-soak-${process.pid}`)
  const file = await open(path, 'w+')
  let end = 0
  let inFile = []
  let onFile = []
  const readBack = async () => {
    await Promise.all(onFile)
    for (const { byte, length, position } of inFile) {
      const { buffer } = await file.read(Buffer.alloc(length), 0, length, position)
      look({ view: buffer, byte, length })
    }
    onFile = []
    inFile = []
    end = 0
  }
  const toFile = (one, write) => {
    inFile.push({ byte: one.byte, length: one.length, position: end })
    onFile.push(write(one.view, end))
    end += one.length
    tally.file++
  }

  // A function of its own: what stands in the registers of one that waits isn't collected.
  const makeSome = () => {
    const outgoing = workers.map(() => [])
    for (let i = 0; i < ROUND; i++) {
      const length = sizeOf(next)
      const byte = tally.buffers++ & 0xff
      const one = { view: heap.allocBuffer(length, { isolated: true }).fill(byte), byte, length }
      const fate = next() % 20
      if (fate < 5) free(one)
      else if (fate < 8) tally.dropped++
      else if (fate < 11) {
        const start = next() % length
        kept.push({ view: one.view.subarray(start), byte, length: length - start })
      } else if (fate < 13) {
        const moved = { ...one, view: structuredClone(one.view, { transfer: [one.view.buffer] }) }
        tally.moved++
        if (next() % 2 === 0) free(moved)
        else kept.push(moved)
      } else if (fate < 16) outgoing[next() % workers.length].push(one)
      else if (fate < 18 && onSocket < MOST_UNDER_WAY) {
        expected.push({ byte, left: length })
        onSocket++
        socket.write(one.view, () => onSocket--)
        tally.socket++
      } else if (onFile.length < MOST_UNDER_WAY) {
        // A pool's write holds the buffer, which may so be freed at once; of Node's own nobody else may have it.
        if (fate === 18) {
          toFile(one, (view, position) => file.write(view, 0, view.length, position))
          if (stray) heap.freeBuffer(one.view)
        } else {
          toFile(one, (view, position) => pool.write(file, view, { position }))
          heap.freeBuffer(one.view)
          tally.freed++
        }
      }
    }
    for (const [i, sent] of outgoing.entries()) {
      if (sent.length === 0 || workers[i].underWay >= MOST_UNDER_WAY) continue
      tally.sent += sent.length
      workers[i].underWay++
      workers[i].postMessage(
        sent,
        sent.map(({ view }) => view.buffer)
      )
    }
    // Whatever was freed too early is another's now. (Isolated too, as AddressSanitizer knows of no other blocks.)
    for (let i = 0; i < 20; i++) {
      const other = heap.allocBuffer(sizeOf(next), { isolated: true }).fill(next() & 0xff)
      heap.freeBuffer(other)
    }
    if (kept.length > 2000) {
      kept.forEach(look)
      kept = kept.filter(() => next() % 4 === 0)
    }
  }

  while (tally.buffers < buffers) {
    makeSome()
    await setImmediate()
    while (workers.some(({ underWay }) => underWay >= MOST_UNDER_WAY)) await setImmediate()
    if (onFile.length >= MOST_UNDER_WAY || end > FILE_BYTES) await readBack()
    if ((tally.buffers / ROUND) % 50 === 0) {
      globalThis.gc()
      heap.audit()
    }
  }

  await readBack()
  await file.close()
  await unlink(path)
  socket.end()
  await once(socket, 'close')
  server.close()
  await once(server, 'close')
  tally.wrong += expected.length
  for (const worker of workers) {
    worker.postMessage('end')
    await once(worker, 'done')
    await worker.terminate()
  }
  kept.forEach(look)
  kept = []
  pool.close()
  for (let i = 0; i < 100 && heap.stats().liveBytes > 0; i++) {
    globalThis.gc()
    await setTimeout(10)
  }
  heap.audit()
  const { liveBytes, peakMappedBytes } = heap.stats()
  heap.close()
  return { ...tally, liveBytes, peakMappedBytes }
}

if (isMainThread) {
  const { values } = parseArgs({
    options: {
      buffers: { type: 'string', default: '1000000' },
      workers: { type: 'string', default: '2' },
      seed: { type: 'string', default: '1' },
      stray: { type: 'boolean', default: false },
    },
  })
  if (globalThis.gc === undefined) throw new Error('start Node with --expose-gc')
  process.on('warning', (warning) => {
    console.error(warning)
    process.exitCode = 1
  })
  const { stray, ...texts } = values
  const numbers = Object.fromEntries(Object.entries(texts).map(([name, value]) => [name, Number(value)]))
  const tally = await soak(numbers, stray)
  console.log(JSON.stringify(tally))
  if (tally.wrong > 0 || tally.liveBytes > 0) process.exitCode = 1
} else work(workerData)
