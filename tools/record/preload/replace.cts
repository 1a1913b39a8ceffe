/** Any function. */
type Method = (this: unknown, ...args: never[]) => unknown
/** What is told of a call. */
type Observer = (result: never, args: unknown[], self: unknown) => void

/** Puts a value in a property's place, and leaves the property otherwise as it is. */
function replaceValue(holder: object, key: PropertyKey, value: unknown): void {
  const {
    configurable = true,
    enumerable = false,
    writable = true,
  } = Object.getOwnPropertyDescriptor(holder, key) ?? {}
  Object.defineProperty(holder, key, { configurable, enumerable, writable, value })
}

/**
 * A function of the same name and length that calls another and tells of what came of it.
 * @param prepare what is called before the other
 */
function observed(original: Method, observe: Observer, prepare?: () => void): Method {
  const { name, length } = original
  const { [name]: method } = {
    [name](this: unknown, ...args: never[]): unknown {
      prepare?.()
      const result = Reflect.apply(original, this, args)
      observe(result as never, args, this)
      return result
    },
  }
  Object.defineProperty(method, 'length', { value: length, configurable: true })
  return method!
}

/** Has a method observed, where this engine has it. */
function observeMethod(holder: object, name: string, observe: Observer): void {
  const original: unknown = Object.getOwnPropertyDescriptor(holder, name)?.value
  if (typeof original === 'function') replaceValue(holder, name, observed(original as Method, observe))
}

export { observed, observeMethod, replaceValue }
