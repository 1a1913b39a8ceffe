const told = new Set<string>()

/**
 * A warning of the process. What Node makes of it goes through what the program may have replaced or frozen: if that throws, nobody is told, but
 * the call of the library's that had something to tell goes on.
 */
export function emitWarning(message: string, options: NodeJS.EmitWarningOptions): void {
  try {
    process.emitWarning(message, options)
  } catch {
    // There is no one else to tell.
  }
}

/** Tells the program something about its machine or its own calls, once in a thread however often it is so. */
export function warnOnce(message: string): void {
  if (told.has(message)) return
  told.add(message)
  emitWarning(message, { type: 'SpanheapWarning' })
}
