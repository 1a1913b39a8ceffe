import { type InspectOptions, inspect, types } from 'node:util'

/** Longer texts are cut when an object is printed, in characters. */
const MOST_PRINTED = 4000

/** What can say of itself what `JSON.stringify` shows of it. */
interface Telling {
  toJSON(): unknown
}

/**
 * Makes objects of a class show what their `toJSON` says, and nothing else. All that they are made of is in private fields: a logger that
 * walks through an object would read gigabytes of views, and so would an assertion, which doesn't ask the object how to print it.
 * @param name what it is called
 * @param identity of what has no property of its own, since it is made often: what assertions tell one from another by
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
 * Jest copies what it has found unequal before it prints it: the values of all getters too, of prototypes too, element by element. It lets
 * objects say which of their properties it may copy: `fields`, and what they are called.
 */
export function hideFromCopies(prototype: object, fields: readonly string[] = []): void {
  const value = Object.freeze([Symbol.toStringTag, ...fields])
  Object.defineProperty(prototype, Symbol.for('@jest/serializableProperties'), { value })
}

/** A name, and the facts about what has it; the reason, where there are none. */
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
 * The value of the only property of objects that stay in their thread, and are equal to themselves alone: assertions compare it, and what
 * clones objects refuses it with its text, which says what to do instead.
 */
export function staysHere(what: string, instead = ''): symbol {
  return Symbol(`${what} stays in its thread${instead}`)
}
