import { Buffer } from 'node:buffer'
import { closeSync, openSync, readSync } from 'node:fs'
import { fileURLToPath, URL } from 'node:url'

/** The ELF header, the program headers and the interpreter's path are at the very start of an executable. */
const ELF_START_BYTES = 4096

/**
 * The path of the package's prebuilt addon for this platform, if there is one:
 * prebuilds/PLATFORM-ARCHITECTURE[-musl]/node-ABI/spanheap.node.
 * @param modules the ABI; by default it, the architecture and the executable are those of the running Node
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
 * Whether a Linux executable runs on musl, by the loader that it names. (Node's report tells too, but takes milliseconds and stops all
 * workers.) If it can't be read, as under the permission model, glibc is assumed, as in Node's own builds.
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
