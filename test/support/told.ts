import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { AllocatorError, MisuseReport } from '../../lib/index.ts'

/** What a function threw, and what debug mode told while it ran. */
export interface Told {
  error: AllocatorError | undefined
  reports: MisuseReport[]
}

/** Runs a function, and catches what it throws and what is told on the channel `spanheap:misuse`. */
export function told(run: () => unknown): Told {
  const reports: MisuseReport[] = []
  const listener = (report: unknown) => reports.push(report as MisuseReport)
  subscribe('spanheap:misuse', listener)
  try {
    run()
    return { error: undefined, reports }
  } catch (error) {
    return { error: error as AllocatorError, reports }
  } finally {
    unsubscribe('spanheap:misuse', listener)
  }
}
