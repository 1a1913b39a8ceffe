import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { PACKAGE_ROOT } from '../package-root.ts'

const FOLDER = join(PACKAGE_ROOT, 'traces')
const ENDING = '.mtrc.gz'

/** The files of the traces that come with this package. */
export function shippedTraces(): string[] {
  const names = readdirSync(FOLDER).filter((name) => name.endsWith(ENDING))
  return names.sort().map((name) => join(FOLDER, name))
}

/** The file of one of them, by its name: `jq`. */
export function shippedTrace(name: string): string {
  return join(FOLDER, `${name}${ENDING}`)
}

/** The file that is meant on a command line: one that is there, or else a trace of this package by its name. */
export function traceFile(name: string): string {
  if (existsSync(name) || !/^\w+$/.test(name)) return name
  const shipped = shippedTrace(name)
  return existsSync(shipped) ? shipped : name
}
