/**
 * What a program takes of the machine. Loaded into it by `--import`, this prints `ProgramFigures` as JSON to the file descriptor that the
 * environment names, once the program has nothing left to do.
 */
import { writeSync } from 'node:fs'
import { getEnvironmentData, isMainThread, setEnvironmentData } from 'node:worker_threads'
import { CollectionCounter } from '../../framework/collections.ts'

/** The variable of the environment. The program's own children don't get it. */
export const DESCRIPTOR = 'SPANHEAP_FIGURES'

/** Figures of a process from its start until it had nothing left to do. */
export interface ProgramFigures {
  wallMs: number
  /** User and system time of all threads, the collector's too. */
  processorMs: number
  /** Major collections of all threads, and the time in them, with the steps of marking. */
  majors: number
  majorMs: number
  minorMs: number
  peakBytes: number
  /** Resident at the end. */
  residentBytes: number
}

const SUMS = 'spanheap-figures'
/** What the threads have in common: sums of collections. */
const enum Sum {
  Majors,
  MajorMs,
  MinorMs,
  Count,
}

async function addCollections(counter: CollectionCounter, sums: Float64Array): Promise<void> {
  const { major, incremental, minor } = await counter.end()
  sums[Sum.Majors]! += major.count
  sums[Sum.MajorMs]! += major.ms + incremental.ms
  sums[Sum.MinorMs]! += minor.ms
}

function watchMain(descriptor: number): void {
  delete process.env[DESCRIPTOR]
  const sums = new Float64Array(new SharedArrayBuffer(Sum.Count * Float64Array.BYTES_PER_ELEMENT))
  setEnvironmentData(SUMS, sums as never)
  const counter = new CollectionCounter()
  process.once('beforeExit', async () => {
    const wallMs = performance.now()
    const { user, system } = process.cpuUsage()
    const residentBytes = process.memoryUsage.rss()
    const peakBytes = process.resourceUsage().maxRSS * 1024
    await addCollections(counter, sums)
    const [majors, majorMs, minorMs] = sums as unknown as [number, number, number]
    const processorMs = (user + system) / 1000
    const figures: ProgramFigures = { wallMs, processorMs, majors, majorMs, minorMs, peakBytes, residentBytes }
    writeSync(descriptor, JSON.stringify(figures))
  })
}

function watchWorker(sums: Float64Array): void {
  const counter = new CollectionCounter()
  process.once('beforeExit', () => addCollections(counter, sums))
}

if (isMainThread) {
  const descriptor = process.env[DESCRIPTOR]
  if (descriptor !== undefined) watchMain(Number(descriptor))
} else {
  const sums = getEnvironmentData(SUMS) as unknown as Float64Array | undefined
  if (sums !== undefined) watchWorker(sums)
}
