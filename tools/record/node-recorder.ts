import { fileURLToPath, URL } from 'node:url'
import { RecorderVariable } from './node-record.ts'

const PRELOAD = fileURLToPath(new URL('./preload/preload.cjs', import.meta.url))

/**
 * The environment by which Node loads the recorder first and finds the folder for its logs. It is loaded by `--require` and not
 * by `--import`: with the latter Node 20 runs a CommonJS program by the loader of ES modules, later and in another order.
 */
export function nodeEnvironment(folder: string, events: number): NodeJS.ProcessEnv {
  const others = process.env.NODE_OPTIONS
  const own = `--require ${quoted(PRELOAD)}`
  return {
    ...process.env,
    NODE_OPTIONS: others === undefined ? own : `${own} ${others}`,
    [RecorderVariable.Folder]: folder,
    [RecorderVariable.Events]: String(events),
  }
}

/** As NODE_OPTIONS wants what may hold a blank. */
function quoted(path: string): string {
  return `"${path.replace(/[\\"]/g, '\\$&')}"`
}
