/** Frames of a stack that are kept. */
const FRAMES = 16
const THIS_FILE = 'buffers/call-stack.js'
/** The folder of the library's files, as stacks name it. Bundled with a program the library has none of its own. */
const LIBRARY = import.meta.url?.endsWith(THIS_FILE) ? import.meta.url.slice(0, -THIS_FILE.length) : undefined

/**
 * The stack of whoever called the library; undefined if it can't be had. Its text is made at once: until then V8 holds on to the `this` of
 * every frame, and an object whose constructor allocates a buffer, and keeps it in a field, would never be collected.
 *
 * The settings of stacks are the program's, which may have frozen them, or have put anything in their place.
 */
export function callStack(): string | undefined {
  try {
    return withSetting('stackTraceLimit', FRAMES, () => withSetting('prepareStackTrace', undefined, capture))
  } catch {
    return undefined
  }
}

function capture(): string | undefined {
  const holder: { stack?: unknown } = {}
  Error.captureStackTrace(holder, callStack)
  const { stack } = holder
  return typeof stack === 'string' ? stack : undefined
}

/** Runs `work` while a property of `Error` has another value, if it can be given one. */
function withSetting<T>(name: 'stackTraceLimit' | 'prepareStackTrace', value: unknown, work: () => T): T {
  const before = Object.getOwnPropertyDescriptor(Error, name)
  Reflect.defineProperty(Error, name, { value, configurable: true, writable: true })
  try {
    return work()
  } finally {
    if (before !== undefined) Reflect.defineProperty(Error, name, before)
    else Reflect.deleteProperty(Error, name)
  }
}

/** The lines of such a stack that aren't of the library itself. */
export function callersIn(stack: string | undefined): string | undefined {
  const frames = stack?.split('\n').slice(1)
  return frames?.filter((frame) => LIBRARY === undefined || !frame.includes(LIBRARY)).join('\n')
}
