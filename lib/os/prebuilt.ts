import { Buffer } from 'node:buffer'
import { closeSync, openSync, readSync } from 'node:fs'
import { fileURLToPath, URL } from 'node:url'

/** The ELF header, the program headers and the interpreter's path are at the very start of an executable. */
const ELF_START_BYTES = 4096

/**
 * Where the package has the addon ready for this platform, if it has: prebuilds/PLATFORM-ARCHITECTURE[-musl]/node-ABI/spanheap.node.
 * @param modules the ABI, by default that of the Node that runs this, as are its architecture and executable
 */
export function prebuiltPath(
  modules: string = process.versions.modules,
  arch: string = process.arch,
  executable: string = process.execPath
): string {
  const libc = process.platform === 'linux' && isForMusl(executable) ? '-musl' : ''
  const folder = `prebuilds/${process.platform}-${arch}${libc}`
  return fileURLToPath(new URL(`../../../${folder}/node-${modules}/spanheap.node`, import.meta.url))
}

/**
 * Whether an executable of Linux runs on musl, by the loader that it names. (Node's report tells as well, but it takes
 * milliseconds and stops all workers.) One that can't be read, as under the permission model, counts as glibc's, which Node's
 * own builds are.
 */
export function isForMusl(executable: string): boolean {
  const start = Buffer.alloc(ELF_START_BYTES)
  try {
    const file = openSync(executable, 'r')
    try {
      readSync(file, start)
    } finally {
      closeSync(file)
    }
  } catch {
    return false
  }
  return start.includes('/ld-musl-')
}
