import { setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Collects all garbage, and lets finalizers run: those of buffers run in a later turn of the event loop, or on V8's own threads. */
export async function collectGarbage(): Promise<void> {
  for (let round = 0; round < 3; round++) {
    collect()
    await setTimeout(10)
  }
}
