import Table from 'cli-table3'
import type { Advice } from '../advise/advice.ts'
import type { Setting, Verdict } from '../advise/settings.ts'
import type { ReplayReport } from '../trace/replay.ts'
import { bytes, nanoseconds } from './units.ts'

const VERDICTS: Record<Verdict['use'], string> = {
  yes: 'spanheap would help here',
  partly: 'spanheap would help with a part of this',
  no: 'spanheap is not for this',
}

/** The advice for people. */
export function adviceText(advice: Advice): string {
  const { trace, events, threads, peakLiveBytes, verdict, savedNanoseconds } = advice
  const difference = savedNanoseconds >= 0 ? 'less' : 'more'
  return [
    `${trace}: ${events} events of ${threads} thread${threads === 1 ? '' : 's'}, at most ${bytes(peakLiveBytes)} live`,
    `${VERDICTS[verdict.use]}: ${verdict.why}.`,
    '',
    'What a replay takes',
    replays(advice),
    `All events together take ${nanoseconds(Math.abs(savedNanoseconds))} ${difference} on the heap. Every block is written to; views and Buffers over blocks are not counted.`,
    'Other allocators: spanheap compare, and npm run bench:native for native ones.',
    '',
    'Sizes',
    sizes(advice),
    '',
    'Lives, in events from allocation to free (in a trace of Node’s buffers: until the collector found the block)',
    lifetimes(advice),
    '',
    'Settings',
    ...advice.settings.map(setting),
    '',
    'Size classes: the share of blocks’ bytes that nobody asked for, and what is saved of what a heap’s classes take',
    classes(advice),
    ...classNotes(advice),
    '',
  ].join('\n')
}

function table(head: string[], rows: (string | number)[][]): string {
  const aligns = head.map((_, column) => (column === 0 ? 'left' : 'right')) as ('left' | 'right')[]
  const result = new Table({ head, colAligns: aligns, style: { head: [], border: [], compact: true } })
  result.push(...rows)
  return result.toString()
}

function replays({ replays: { tcmalloc, buffer }, peakLiveBytes }: Advice): string {
  const over = (value: number | null) =>
    value === null || peakLiveBytes === 0 ? '–' : (value / peakLiveBytes).toFixed(2)
  const row = (name: string, report: ReplayReport) => [
    name,
    nanoseconds(report.nsPerEvent),
    nanoseconds(report.coldNsPerEvent),
    report.syscalls === null ? '–' : report.syscalls.mmap + report.syscalls.munmap + report.syscalls.madvise,
    over(report.peakMappedBytes),
    over(report.peakResidentBytes),
  ]
  return table(
    ['', 'per event', 'first round', 'system calls', 'peak mapped/live', 'peak resident/live'],
    [row('spanheap', tcmalloc), row('Node’s buffers', buffer)]
  )
}

function sizes({ profile }: Advice): string {
  const blocks = profile.allocations + profile.reallocations
  const peakBytes = profile.sizes.reduce((sum, row) => sum + row.peakBytes, 0)
  return table(
    ['up to', 'allocations', 'of all', 'of bytes', 'live at peak', 'of peak', 'half lived at most'],
    profile.sizes.map((row) => [
      bytes(row.mostBytes),
      row.allocations,
      percent(row.allocations, blocks),
      percent(row.bytes, profile.requestedBytes),
      row.peakBlocks,
      percent(row.peakBytes, peakBytes),
      row.medianLifetime ?? '–',
    ])
  )
}

function lifetimes({ profile }: Advice): string {
  const total = profile.lifetimes.reduce((sum, row) => sum + row.bytes, 0)
  return table(
    ['up to', 'blocks', 'of all', 'of bytes'],
    profile.lifetimes.map(({ mostEvents, blocks, bytes: size }) => [
      mostEvents ?? 'live at the end',
      blocks,
      percent(blocks, profile.allocations),
      percent(size, total),
    ])
  )
}

function setting({ name, value, why }: Setting): string {
  const text = Array.isArray(value) ? `[${value.join(', ')}]` : String(value)
  const size = typeof value === 'number' ? ` (${bytes(value)})` : ''
  return `  ${name}: ${text}${size}\n    ${why}`
}

function classes({ classes: { rows } }: Advice): string {
  return table(
    ['classes', 'used', 'waste', 'saved', 'used at peak', 'waste at peak', 'saved at peak'],
    rows.map((row) => [
      row.name,
      row.used,
      share(row.waste),
      share(row.saved),
      row.usedAtPeak,
      share(row.wasteAtPeak),
      share(row.savedAtPeak),
    ])
  )
}

function classNotes({ classes: { rows, bytesAbove } }: Advice): string[] {
  const fitted = rows.find(({ name }) => name.startsWith('fitted'))
  const notes = [
    'Fitted classes are multiples of 16 bytes, the best there are for these sizes; for the peak they are fitted to the peak.',
  ]
  if (fitted !== undefined) notes.push(`Fitted to all allocations: ${fitted.sizes.join(', ')}`)
  if (bytesAbove > 0)
    notes.push(`${share(bytesAbove)} of the bytes are in blocks above 256 KiB, which take whole pages and no class.`)
  return notes
}

function percent(part: number, whole: number): string {
  return whole === 0 ? '–' : share(part / whole)
}

function share(value: number): string {
  const text = `${(value * 100).toFixed(1)} %`
  return text === '-0.0 %' ? '0.0 %' : text
}
