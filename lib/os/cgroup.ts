import { readFileSync } from 'node:fs'
import { posix } from 'node:path'

/**
 * The tightest memory limit of the process's cgroups, in bytes: its own and all visible ancestors, of version 1 and 2. Infinity if there is
 * none, or the system isn't Linux.
 * @param root the folder to use as the file system's root, in tests
 */
export function cgroupMemoryLimit(root = ''): number {
  const groups = linesOf(`${root}/proc/self/cgroup`).map((line) => line.split(':'))
  let least = Number.POSITIVE_INFINITY
  for (const { mountPoint, mountRoot, isUnified } of mounts(root)) {
    const [, , ...path] =
      groups.find(([id, names]) => (isUnified ? id === '0' : names!.split(',').includes('memory'))) ?? []
    if (path.length === 0) continue
    // A container without a cgroup namespace sees paths from the machine's root, but the tree from its own.
    const inside = posix.relative(mountRoot, path.join(':'))
    let group = inside.startsWith('..') ? mountPoint : posix.join(mountPoint, inside)
    for (;;) {
      const [limit] = linesOf(`${root}${group}/${isUnified ? 'memory.max' : 'memory.limit_in_bytes'}`)
      // For no limit, version 2 says `max`, and version 1 a number larger than any machine's memory.
      if (limit !== undefined && limit !== 'max') least = Math.min(least, Number(limit))
      if (group === mountPoint || group === '/') break
      group = posix.dirname(group)
    }
  }
  return least
}

interface Mount {
  readonly mountPoint: string
  /** The part of the tree that is mounted here. */
  readonly mountRoot: string
  /** Version 2. */
  readonly isUnified: boolean
}

/** The mounts of the memory cgroups, from /proc/self/mountinfo. */
function mounts(root: string): Mount[] {
  return linesOf(`${root}/proc/self/mountinfo`).flatMap((line) => {
    const [before, after = ''] = line.split(' - ')
    const [, , , mountRoot, mountPoint] = before!.split(' ')
    const [type, , options = ''] = after.split(' ')
    const isUnified = type === 'cgroup2'
    if (!isUnified && !(type === 'cgroup' && options.split(',').includes('memory'))) return []
    return [{ mountRoot: unescaped(mountRoot!), mountPoint: unescaped(mountPoint!), isUnified }]
  })
}

/** That file writes spaces, tabs and the like in octal. */
function unescaped(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)))
}

function linesOf(file: string): string[] {
  try {
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
  } catch {
    return []
  }
}
