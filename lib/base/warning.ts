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
