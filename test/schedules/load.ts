import { pathToFileURL } from 'node:url'
import { attached, type Lib } from './scenario.ts'

const atomic = (name: 'load' | 'store' | 'wait', words: Int32Array, index: number, ...value: number[]) =>
  (globalThis as unknown as { __atomic(...args: unknown[]): unknown }).__atomic(name, words, index, ...value)

/** A thread that was struck tells nothing. */
const MOST_WAITS = 20

/** Loads the instrumented library from the folder that buildWithSteps has made. */
export async function loadLib(folder: string): Promise<Lib> {
  const load = (file: string) => import(pathToFileURL(`${folder}${file}`).href)
  const files = ['index.js', 'lifetime/host.js', 'os/growable-mapper.js']
  const modules = await Promise.all(files.map(load))
  const lib = Object.assign({}, ...modules) as Lib
  lib.attached = (token, objects) => attached(lib, token, objects)
  // Through the instrumented Atomics, since the thread's earlier stores are to be seen by then.
  lib.tell = (flags, value) => void atomic('store', flags, 0, value)
  lib.hear = (flags) => {
    for (let waits = 0; ; waits++) {
      const value = atomic('load', flags, 0) as number
      if (value !== 0 || waits === MOST_WAITS) return value
      atomic('wait', flags, 0, 0)
    }
  }
  return lib
}
