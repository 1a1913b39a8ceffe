const told = new Set<string>()

/** Tells the program something about its machine or its own calls, once in a thread however often it is so. */
export function warnOnce(message: string): void {
  if (told.has(message)) return
  told.add(message)
  process.emitWarning(message, 'SpanheapWarning')
}
