/**
 * Threads that are ended just before they call the shim, which then can't even throw: V8 ends a thread at the next function or turn of a
 * loop, and up to there it goes on. Prints how many got as far as behind the call.
 */
import { once } from 'node:events'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { type Addon, loadAddon } from '../../lib/os/addon.ts'

const THREADS = 5
const PAGE = 65_536

if (isMainThread) {
  const behind = new Int32Array(new SharedArrayBuffer(4))
  for (let i = 0; i < THREADS; i++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: behind })
    await once(worker, 'message')
    await worker.terminate()
  }
  process.stdout.write(String(behind[0]))
} else {
  const addon = loadAddon() as Addon
  const behind = workerData as Int32Array
  const ledger = addon.openLedger()
  const mapping = addon.reserve(ledger, PAGE, PAGE, false, PAGE, false)
  if (typeof mapping === 'number') throw new Error(`nothing was reserved: ${mapping}`)
  const { handle, buffer } = mapping
  const address = addon.map(ledger, PAGE)
  // A search of an eighth of a second or more, with no place in it at which V8 could end the thread. What is asked for is untouched: it costs no memory.
  const long = new Uint8Array(2 ** 28)
  parentPort!.postMessage('now')
  long.indexOf(1)
  // Written out: a loop, or a function between, would be its end.
  addon.grow(handle, 0, PAGE)
  addon.release(handle, 0, PAGE)
  addon.claimSlot(handle, 0, 4, false)
  addon.freeSlot(handle, 0, 0)
  addon.unshared(handle)
  addon.adopt(buffer)
  addon.reserve(ledger, PAGE, PAGE, false, PAGE, false)
  addon.openLedger()
  addon.ledgerCounts(ledger)
  addon.keepRing(ledger, 10)
  addon.ledgerRing(ledger)
  addon.writeLedgerTo(ledger, '/')
  addon.flushLedgerFile(ledger)
  addon.map(ledger, PAGE)
  addon.bufferOver(address, PAGE)
  addon.copy(address, address, 1)
  addon.touch(address, PAGE, PAGE)
  addon.unmap(ledger, address, PAGE)
  addon.detach(new ArrayBuffer(1))
  behind[0]!++
}
