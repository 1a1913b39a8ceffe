import { type InspectOptions, inspect, types } from 'node:util'

/** The most characters printed of an object; longer texts are cut. */
const MOST_PRINTED = 4000

/** An object with a `toJSON` of its own. */
interface Telling {
  toJSON(): unknown
}

/**
 * Makes objects of a class print what their `toJSON` returns, and nothing else. Their contents are in private fields: otherwise a logger
 * that walks an object would read gigabytes of views, and so would an assertion, which doesn't ask the object how to print it.
 * @param name the class's name
 * @param identity tells assertions one object from another, if objects have no property of their own since they are created often
 */
export function makePrintable<T extends Telling>(
  type: { readonly prototype: T },
  name: string,
  identity?: (object: T) => string
): void {
  const tag = identity === undefined ? { value: name } : { get: tagged }
  function tagged(this: T): string {
    return Object.hasOwn(this, 'constructor') ? name : `${name} ${identity!(this)}`
  }
  hideFromCopies(type.prototype)
  Object.defineProperties(type.prototype, {
    [Symbol.toStringTag]: { ...tag, configurable: true },
    [inspect.custom]: {
      value(this: Telling, _depth: number, options: InspectOptions) {
        return printed(name, () => this.toJSON(), options)
      },
      configurable: true,
      writable: true,
    },
  })
}

/**
 * Before Jest prints unequal objects it copies them, element by element, with the values of all getters, prototypes' included. An object
 * can say which properties Jest may copy: `fields` and its name.
 */
export function hideFromCopies(prototype: object, fields: readonly string[] = []): void {
  const value = Object.freeze([Symbol.toStringTag, ...fields])
  Object.defineProperty(prototype, Symbol.for('@jest/serializableProperties'), { value })
}

/** Prints an object as its name and facts; if the facts can't be had, the reason. */
export function printed(name: string, facts: () => unknown, options: InspectOptions): string {
  let text: string
  try {
    text = `${name} ${inspect(facts(), options)}`
  } catch (error) {
    text = `${name} (${types.isNativeError(error) ? error.message : String(error)})`
  }
  return text.length > MOST_PRINTED ? `${text.slice(0, MOST_PRINTED)}…` : text
}

/**
 * The value of the only property of objects that stay in their thread. Assertions compare it, so each object equals only itself. Structured
 * clone refuses it with its text, which says what to do instead.
 */
export function staysHere(what: string, instead = ''): symbol {
  return Symbol(`${what} stays in its thread${instead}`)
}
