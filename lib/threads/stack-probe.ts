/** Calls by which the stack is probed before a slow path begins: deeper than any slow path goes. */
const PROBED_CALLS = 24

/** Makes a stack overflow happen here, with nothing half done, rather than later under a lock. */
export function probeStack(calls = PROBED_CALLS): number {
  return calls === 0 ? 0 : probeStack(calls - 1) + 1
}
