const told = new Set<string>()

/**
 * Emits a process warning. Node's code for that uses objects that the program may have replaced or frozen. If it throws, the warning is
 * lost, but the library's call goes on.
 */
export function emitWarning(message: string, options: NodeJS.EmitWarningOptions): void {
  try {
    process.emitWarning(message, options)
  } catch {
    // There is no other way to report it.
  }
}

/** Warns the program about its machine or its own calls, at most once per thread for each message. */
export function warnOnce(message: string): void {
  if (told.has(message)) return
  told.add(message)
  emitWarning(message, { type: 'SpanheapWarning' })
}

/**
 * Warns of what a peer may bring on, so each time, and never at the cost of the process: what a listener of the warning throws is dropped
 * too. Node calls those later on, from where nothing can catch; so here they are called at once.
 */
export function warnSafely(message: string, detail: string): void {
  try {
    process.emit('warning', Object.assign(new Error(message), { name: 'SpanheapWarning', detail }))
  } catch {
    // The same.
  }
}
