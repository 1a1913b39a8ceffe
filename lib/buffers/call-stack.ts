/** Frames of a stack that are kept. */
const FRAMES = 16
const THIS_FILE = 'buffers/call-stack.js'
/** The folder of the library's files, as stacks name it. Bundled with a program the library has none of its own. */
const LIBRARY = import.meta.url?.endsWith(THIS_FILE) ? import.meta.url.slice(0, -THIS_FILE.length) : undefined

/**
 * The stack of whoever called the library. Its text is made at once: until then V8 holds on to the `this` of every frame, and an object
 * whose constructor allocates a buffer, and keeps it in a field, would never be collected.
 */
export function callStack(): string | undefined {
  const holder: { stack?: unknown } = {}
  const before = Error.stackTraceLimit
  Error.stackTraceLimit = FRAMES
  Error.captureStackTrace(holder, callStack)
  const { stack } = holder
  Error.stackTraceLimit = before
  return typeof stack === 'string' ? stack : undefined
}

/** The lines of such a stack that aren't of the library itself. */
export function callersIn(stack: string | undefined): string | undefined {
  const frames = stack?.split('\n').slice(1)
  return frames?.filter((frame) => LIBRARY === undefined || !frame.includes(LIBRARY)).join('\n')
}
