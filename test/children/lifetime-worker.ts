// A worker with blocks, handles and arenas of a heap that others have too.
import { parentPort, workerData } from 'node:worker_threads'
import type { HeapToken } from '../../lib/index.ts'
import { AllocatorError, Arena, type ArenaToken, HandleTable, type HandleTableToken, Heap } from '../../lib/index.ts'
import { random } from '../support/churn.ts'

const {
  heap: token,
  table: tableToken,
  task,
  arena: arenaToken,
  handles,
  seed,
} = workerData as {
  heap: HeapToken
  table: HandleTableToken
  task: string
  arena: ArenaToken
  handles: number[]
  seed: number
}
const heap = Heap.attach(token)
const port = parentPort!

switch (task) {
  case 'dispose':
    Arena.attach(arenaToken, { heap }).dispose()
    port.postMessage('disposed')
    break
  case 'arenas': {
    // One that ends with this thread, with a child, and one that doesn't.
    const own = heap.arena({ owner: 'worker' })
    for (let i = 0; i < 10_000; i++) own.malloc(1000)
    own.arena().malloc(100_000)
    const anybodys = heap.arena()
    anybodys.malloc(100)
    port.postMessage({ own: own.share(), anybodys: anybodys.share() })
    port.on('message', () => {
      try {
        own.malloc(1)
      } catch (error) {
        port.postMessage((error as AllocatorError).code)
      }
    })
    break
  }
  case 'arenas for ever': {
    const next = random(seed)
    port.postMessage('running')
    for (;;) {
      using arena = heap.arena({ owner: 'worker' })
      const child = arena.arena()
      for (let i = next() % 50; i > 0; i--) (i % 4 === 0 ? child : arena).malloc(next() % 20_000)
      const mark = arena.mark()
      for (let i = next() % 50; i > 0; i--) arena.malloc(next() % 20_000)
      arena.rewind(mark)
      if (next() % 2 === 0) child.dispose()
    }
  }
  case 'handles for ever': {
    const table = HandleTable.attach(tableToken, { heap })
    const next = random(seed)
    const live: number[] = []
    port.postMessage('running')
    for (;;) {
      if (live.length < 300 && next() % 2 === 0) live.push(table.alloc(next() % 1000))
      else if (live.length > 0) table.free(live.splice(next() % live.length, 1)[0]!)
    }
  }
  case 'free all': {
    // Whoever comes first frees a handle; the others are told.
    const table = HandleTable.attach(tableToken, { heap })
    let freed = 0
    let stale = 0
    port.postMessage('ready')
    port.once('message', () => {
      for (const handle of handles) {
        try {
          table.free(handle)
          freed++
        } catch (error) {
          if (!(error instanceof AllocatorError) || error.code !== 'ERR_HEAP_STALE_HANDLE') throw error
          stale++
        }
      }
      table.close()
      heap.close()
      port.postMessage({ freed, stale })
      port.close()
    })
    break
  }
  default:
    throw new Error(`there is no task ${task}`)
}
