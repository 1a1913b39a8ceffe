// A worker that attaches to a heap and does what it is told: one task a message, or one that never ends.
import { setTimeout as sleep } from 'node:timers/promises'
import vm from 'node:vm'
import { parentPort, workerData } from 'node:worker_threads'
import { Heap } from '../../lib/heap/heap.ts'
import type { HeapToken } from '../../lib/index.ts'
import { churn } from '../support/churn.ts'

/** Strikes that a thread survives; a long run by hand sets more. */
const STRIKES = Number(process.env.SPANHEAP_KILLS ?? 80)

const { token, task } = workerData as { token: HeapToken; task: string }
const heap = Heap.attach(token)
const port = parentPort!

switch (task) {
  case 'serve':
    port.on('message', ({ call, args }: { call: string; args: unknown[] }) => {
      try {
        const method = (heap as unknown as Record<string, (...args: unknown[]) => unknown>)[call]!
        const result = method.apply(heap, args)
        port.postMessage({ result: ArrayBuffer.isView(result) ? heap.addressOf(result) : result })
      } catch (error) {
        port.postMessage({ code: (error as { code: string }).code })
      }
      if (call === 'close') port.close()
    })
    break
  case 'churn': {
    port.postMessage('running')
    let seed = 0
    while (seed >= 0) churn(heap, ++seed, 5000)
    break
  }
  case 'exit':
    churn(heap, 3, 20_000)
    process.exit(7)
    break
  case 'exit once told':
    port.postMessage('attached')
    port.once('message', () => {
      churn(heap, 3, 3000)
      process.exit(7)
    })
    break
  case 'throw':
    churn(heap, 4, 20_000)
    throw new Error('on purpose')
  case 'out of memory': {
    churn(heap, 5, 20_000)
    const kept: unknown[] = []
    for (;;) kept.push(new Array(100_000).fill({ heap }))
  }
  case 'timeouts':
    // Each strikes somewhere in the churn, and the thread lives on.
    for (let round = 0; round < 300; round++) {
      try {
        vm.runInNewContext('churn(heap, seed, 1e9)', { churn, heap, seed: round + 1 }, { timeout: 1 + (round % 3) })
      } catch (error) {
        if ((error as { code?: string }).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error
      }
    }
    heap.audit()
    port.postMessage('done')
    break
  case 'overflows': {
    const deep = (calls: number): void => {
      churn(heap, calls + 1, 3)
      deep(calls + 1)
    }
    for (let round = 0; round < 200; round++) {
      try {
        deep(round)
      } catch (error) {
        if (!(error instanceof RangeError)) throw error
      }
    }
    heap.audit()
    port.postMessage('done')
    break
  }
  case 'timeouts, then idle':
  case 'overflows, then idle': {
    // Struck in one of several Heap objects, or in one that it attaches and that nobody keeps; then it does nothing for a while.
    const others = [Heap.attach(token), Heap.attach(token)]
    for (let round = 0; round < STRIKES; round++) {
      const used = [heap, ...others][round % 3]!
      const work = (seed: number) => {
        if (task === 'overflows, then idle') churn(used, seed + 1, 3)
        else churn(round % 20 === 0 ? Heap.attach(token) : used, seed + 1, 1e9)
      }
      const deep = (calls: number): void => {
        work(calls)
        deep(calls + 1)
      }
      try {
        if (task === 'overflows, then idle') deep(round)
        else vm.runInNewContext('work(seed)', { work, seed: round }, { timeout: 1 + (round % 3) })
      } catch (error) {
        const { code } = error as { code?: string }
        if (code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT' && !(error instanceof RangeError)) throw error
      }
      await sleep(round % 5)
      if (round % 4 === 0) others[round % 2]!.stats()
    }
    port.postMessage('done')
    break
  }
  default:
    throw new Error(`there is no task ${task}`)
}
