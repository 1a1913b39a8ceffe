import { readFileSync } from 'node:fs'
import { posix } from 'node:path'

/**
 * The tightest limit on memory of the process's cgroups, in bytes: of its own and of all above it that it can see, of version 1 and of 2.
 * Infinity where there is none, or no Linux.
 * @param root the folder that stands for the file system's root, in tests
 */
export function cgroupMemoryLimit(root = ''): number {
  const groups = linesOf(`${root}/proc/self/cgroup`).map((line) => line.split(':'))
  let least = Number.POSITIVE_INFINITY
  for (const { mountPoint, mountRoot, isUnified } of mounts(root)) {
    const [, , ...path] =
      groups.find(([id, names]) => (isUnified ? id === '0' : names!.split(',').includes('memory'))) ?? []
    if (path.length === 0) continue
    // Without a namespace of its own, a container sees the path from the machine's root, but the tree from its own.
    const inside = posix.relative(mountRoot, path.join(':'))
    let group = inside.startsWith('..') ? mountPoint : posix.join(mountPoint, inside)
    for (;;) {
      const [limit] = linesOf(`${root}${group}/${isUnified ? 'memory.max' : 'memory.limit_in_bytes'}`)
      // `max` is no number, and version 1's word for no limit is more than any machine has.
      if (limit !== undefined && limit !== 'max') least = Math.min(least, Number(limit))
      if (group === mountPoint || group === '/') break
      group = posix.dirname(group)
    }
  }
  return least
}

interface Mount {
  readonly mountPoint: string
  /** What of the whole tree is there. */
  readonly mountRoot: string
  /** Version 2. */
  readonly isUnified: boolean
}

/** Where control groups of memory are seen, by /proc/self/mountinfo. */
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

/** Spaces, tabs and the like stand in octal there. */
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
