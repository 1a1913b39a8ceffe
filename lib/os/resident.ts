import { readFileSync } from 'node:fs'

/** A range of real addresses; `end` is exclusive. */
export interface AddressRange {
  start: number
  end: number
}

/**
 * Resident bytes of the process's mappings that lie within `ranges`; null if there is no /proc/self/smaps. If the kernel has merged a
 * mapping with a neighbour, its resident bytes are attributed to the ranges first.
 */
export function residentBytesOf(ranges: readonly AddressRange[]): number | null {
  let text: string
  try {
    text = readFileSync('/proc/self/smaps', 'latin1')
  } catch {
    return null
  }
  const sorted = [...ranges].sort((a, b) => a.start - b.start)
  let resident = 0
  let next = 0
  // A mapping is a line `start-end flags …`, then lines `Name:  number kB`; mappings come in ascending order of address.
  const mappings = text.matchAll(/^([0-9a-f]+)-([0-9a-f]+) .*\n(?:[A-Z]\w+:.*\n)*?Rss: +(\d+) kB/gm)
  for (const [, startHex, endHex, kilobytes] of mappings) {
    const start = Number.parseInt(startHex!, 16)
    const end = Number.parseInt(endHex!, 16)
    while (next < sorted.length && sorted[next]!.end <= start) next++
    let within = 0
    for (let i = next; i < sorted.length && sorted[i]!.start < end; i++) {
      within += Math.min(end, sorted[i]!.end) - Math.max(start, sorted[i]!.start)
    }
    resident += Math.min(within, Number(kilobytes) * 1024)
  }
  return resident
}
