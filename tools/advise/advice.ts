import type { ReplayReport } from '../trace/replay.ts'
import type { Trace } from '../trace/trace.ts'
import { adviseClasses, type ClassesAdvice } from './classes.ts'
import { profileOf, type TraceProfile } from './profile.ts'
import { type Setting, settingsFor, type Verdict, verdictOf } from './settings.ts'

/** What a trace says about a program and spanheap: the object that `spanheap advise --json` prints. */
export interface Advice {
  schemaVersion: 2
  node: string
  trace: string
  events: number
  threads: number
  peakLiveBytes: number
  verdict: Verdict
  /** Nanoseconds that all events would take less on the heap than on Node's buffers. */
  savedNanoseconds: number
  replays: { tcmalloc: ReplayReport; buffer: ReplayReport }
  profile: TraceProfile
  settings: Setting[]
  classes: ClassesAdvice
}

/** Puts the advice together. The replays were made of the same trace, each in a process of its own. */
export function adviceOn(trace: Trace, tcmalloc: ReplayReport, buffer: ReplayReport): Advice {
  const profiled = profileOf(trace)
  return {
    schemaVersion: 2,
    node: process.versions.node,
    trace: trace.name,
    events: trace.events,
    threads: trace.threads,
    peakLiveBytes: trace.peakLiveBytes,
    verdict: verdictOf(profiled.profile, tcmalloc, buffer),
    savedNanoseconds: (buffer.nsPerEvent - tcmalloc.nsPerEvent) * trace.events,
    replays: { tcmalloc, buffer },
    profile: profiled.profile,
    settings: settingsFor(trace, profiled, tcmalloc),
    classes: adviseClasses(profiled.allocated, profiled.atPeak),
  }
}
