import { callStack, framesOf } from '../base/call-stack.ts'
import { AllocatorError } from '../base/errors.ts'

/** Files whose functions hold locks, or are on a slow path, and never call the program. */
const AT_WORK =
  /\/(tcmalloc\/[\w-]+|threads\/(locks|shared-block)|channel\/channel|lifetime\/(arena-registry|handle-table))\.js/

/**
 * Throws if a debugger has stopped this thread inside the heap, and evaluates this call: the work of the stopped function looks as if it was
 * left by a strike, but is still under way. The stack tells them apart: a struck function has left it, a stopped one is still on it, below
 * the code that the debugger evaluates. REQUIRES: something looks as if it was left by a strike, since this takes some 50 µs
 * @throws AllocatorError `ERR_HEAP_BUSY`
 */
export function checkNotPaused(): void {
  const frames = framesOf(callStack(Number.POSITIVE_INFINITY))
  const program = frames.findIndex(({ isLibrary }) => !isLibrary)
  const isPaused = program >= 0 && frames.slice(program).some(({ isLibrary, text }) => isLibrary && AT_WORK.test(text))
  if (isPaused)
    throw new AllocatorError('ERR_HEAP_BUSY', 'this thread is inside the heap already: a debugger has stopped it there')
}
