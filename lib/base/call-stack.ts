/** Stack frames to keep. */
const FRAMES = 16
const THIS_FILE = 'base/call-stack.js'
/** The folder of the library's files, as stacks name it. A bundled library has no folder of its own. */
const LIBRARY = import.meta.url?.endsWith(THIS_FILE) ? import.meta.url.slice(0, -THIS_FILE.length) : undefined

/**
 * The stack of the library's caller; undefined if it can't be had. Its text is made at once: until then V8 keeps the `this` of every frame,
 * so an object whose constructor allocates a buffer and keeps it in a field would never be collected.
 *
 * The stack settings belong to the program, which may have frozen or replaced them.
 */
export function callStack(frames = FRAMES): string | undefined {
  try {
    return withSetting('stackTraceLimit', frames, () => withSetting('prepareStackTrace', undefined, capture))
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

/** Runs `work` with another value of a property of `Error`, if it can be set. */
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

/** The frames of such a stack, but for those of async functions that wait, and whether they are the library's own. */
export function framesOf(stack: string | undefined): { text: string; isLibrary: boolean }[] {
  const frames = stack?.split('\n').filter((line) => /^ +at (?!async )/.test(line)) ?? []
  return frames.map((text) => ({ text, isLibrary: LIBRARY !== undefined && text.includes(LIBRARY) }))
}

/** The lines of such a stack without the library's own. */
export function callersIn(stack: string | undefined): string | undefined {
  const frames = stack?.split('\n').slice(1)
  return frames?.filter((frame) => LIBRARY === undefined || !frame.includes(LIBRARY)).join('\n')
}
