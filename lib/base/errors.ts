/** The codes of an {@link AllocatorError}. See docs/heap.md for the meaning of each. */
export type AllocatorErrorCode =
  | 'ERR_HEAP_DOUBLE_FREE'
  | 'ERR_HEAP_INVALID_ADDRESS'
  | 'ERR_HEAP_OUT_OF_MEMORY'
  | 'ERR_HEAP_CLOSED'
  | 'ERR_HEAP_NOT_SHARED'
  | 'ERR_HEAP_INVALID_TOKEN'
  | 'ERR_HEAP_BUSY'
  | 'ERR_HEAP_TOO_MANY_WORKERS'
  | 'ERR_HEAP_CORRUPT'
  | 'ERR_HEAP_UNSUPPORTED'
  | 'ERR_HEAP_STALE_HANDLE'
  | 'ERR_POOL_CLOSED'
  | 'ERR_POOL_EXHAUSTED'
  | 'ERR_POOL_DOUBLE_RELEASE'
  | 'ERR_POOL_FOREIGN_BUFFER'
  | 'ERR_POOL_LEASED'
  | 'ERR_POOL_PEERS_DIED'
  | 'ERR_POOL_SOURCE_TOO_LARGE'
  | 'ERR_CHANNEL_CLOSED'
  | 'ERR_CHANNEL_PEERS_DIED'
  | 'ERR_TRACE_INVALID'
  | 'ERR_RECORD_FAILED'

/** The details that an {@link AllocatorError} may have besides its code. */
export interface AllocatorErrorDetails {
  /** The address that the call was given. */
  address?: number
  /** Bytes that the call asked for. */
  requested?: number
  /** The system call that failed: `mmap`, `munmap`, `madvise`. */
  syscall?: string
  /** The system's error number, positive. */
  errno?: number
  /** The error that caused this one. */
  cause?: unknown
}

/** Longer strings aren't quoted in messages. */
const MOST_QUOTED = 40

/**
 * Every error of this library that isn't about the type or range of an argument. The heap is as it was before the call.
 * @example
 * ```ts
 * import { AllocatorError, Heap } from 'spanheap'
 *
 * using heap = new Heap()
 * const address = heap.malloc(100)
 * heap.free(address)
 * try {
 *   heap.free(address)
 * } catch (error) {
 *   if (error instanceof AllocatorError) console.log(error.code) // ERR_HEAP_DOUBLE_FREE
 * }
 * ```
 */
export class AllocatorError extends Error {
  /** Always `AllocatorError`. */
  declare readonly name: 'AllocatorError'
  /** What went wrong; docs/troubleshooting.md has a section on each. */
  declare readonly code: AllocatorErrorCode
  /** The address that the call was given, if any. */
  declare readonly address?: number
  /** Bytes that the call asked for. */
  declare readonly requested?: number
  /** The system call that failed: `mmap`, `munmap`, `madvise`. */
  declare readonly syscall?: string
  /** The system's error number, positive. */
  declare readonly errno?: number

  constructor(code: AllocatorErrorCode, message: string, details: AllocatorErrorDetails = {}) {
    const { cause, ...fields } = details
    super(message, cause === undefined ? undefined : { cause })
    Object.assign(this, { code }, fields)
  }

  static {
    Object.defineProperty(AllocatorError.prototype, 'name', { value: 'AllocatorError', configurable: true })
  }

  /** For `JSON.stringify`: the message and all details but the stack and the cause. */
  toJSON(): object {
    const { name, code, message } = this
    return { ...this, name, code, message }
  }
}

/** A `TypeError` with Node's own code for an argument of the wrong type. */
export function wrongType(name: string, expected: string, value: unknown, more = ''): TypeError {
  const error = new TypeError(`${name} must be ${expected}, not ${describe(value)}${more}`)
  return Object.assign(error, { code: 'ERR_INVALID_ARG_TYPE' })
}

/** A `RangeError` with Node's own code for a number out of range. */
export function outOfRange(name: string, expected: string, value: unknown): RangeError {
  const error = new RangeError(`${name} must be ${expected}, not ${String(value)}`)
  return Object.assign(error, { code: 'ERR_OUT_OF_RANGE' })
}

/** A `TypeError` with Node's own code for an invalid value. */
export function invalidValue(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_VALUE' })
}

/** The error for a call on a heap that was closed. */
export function closedError(): AllocatorError {
  return new AllocatorError('ERR_HEAP_CLOSED', 'the heap is closed')
}

/** The error for a refused request: by the system if the error number isn't 0, else by the limit of the heap or of an arena. */
export function outOfMemory(requested: number, errno: number, limited: 'heap' | 'arena' = 'heap'): AllocatorError {
  if (errno === 0) {
    const message = `${requested} bytes don't fit in the ${limited}'s limit: free something, or give it a larger limitBytes`
    return new AllocatorError('ERR_HEAP_OUT_OF_MEMORY', message, { requested })
  }
  const message = `the system refused memory for ${requested} bytes`
  return new AllocatorError('ERR_HEAP_OUT_OF_MEMORY', message, { requested, syscall: 'mmap', errno })
}

/** The error for a block, a handle or an arena that was freed. */
export function staleHandle(message: string): AllocatorError {
  return new AllocatorError('ERR_HEAP_STALE_HANDLE', message)
}

/** The error for a value that isn't the token of an open heap. */
export function invalidToken(reason: string): AllocatorError {
  return new AllocatorError('ERR_HEAP_INVALID_TOKEN', `the token can't be attached: ${reason}`)
}

/** Describes a value for a message: its type and, if short, the value itself. */
function describe(value: unknown): string {
  switch (typeof value) {
    case 'undefined':
      return 'undefined'
    case 'object': {
      if (value === null) return 'null'
      if (Array.isArray(value)) return 'an array'
      const name: unknown = value.constructor?.name
      return typeof name === 'string' && name !== '' && name !== 'Object' ? `an instance of ${name}` : 'an object'
    }
    case 'string':
      return value.length > MOST_QUOTED
        ? `a string of ${value.length} characters`
        : `the string ${JSON.stringify(value)}`
    case 'function':
      return value.name === '' ? 'a function' : `the function ${value.name}`
    default:
      return `the ${typeof value} ${String(value)}`
  }
}
