/** So many calls deep the stack is probed before a slow path begins: more than any takes. */
const PROBED_CALLS = 24

/** Overflows the stack here, where nothing is half done, and not later under a lock. */
export function probeStack(calls = PROBED_CALLS): number {
  return calls === 0 ? 0 : probeStack(calls - 1) + 1
}
