// A worker that attaches to a heap and does what it is told: one task a message, or one that never ends.
import vm from 'node:vm'

import { parentPort, workerData } from 'node:worker_threads'
import { Heap, type HeapToken } from '../../lib/index.ts'
import { churn } from '../support/churn.ts'

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
  default:
    throw new Error(`there is no task ${task}`)
}
