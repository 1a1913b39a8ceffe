import type { Channel } from 'node:diagnostics_channel'

/** Messages of this thread that no subscriber has got yet. */
const waiting: (() => void)[] = []
/** How many of `during`, `quietly` and `begin` this thread is in. A strike leaves it too high, until the next microtask of a message. */
let depth = 0

/**
 * Publishes a message on a channel. A subscriber is the program's: it may call anything, close what the message is about, or throw. So it is
 * called only while nothing is half done: behind the work that this thread is in the middle of.
 * @param isAtWork whether the caller is in the middle of some, even outside of `during`: then it is called in a microtask at the latest
 */
export function announce(channel: Channel, message: object, isAtWork = false): void {
  if (!channel.hasSubscribers) return
  waiting.push(() => channel.publish(message))
  if (depth === 0 && !isAtWork) publishAll()
  else if (waiting.length === 1) queueMicrotask(publishLeft)
}

/** Does work whose messages go out behind it. */
export function during<T>(work: () => T): T {
  begin()
  try {
    return work()
  } finally {
    end()
  }
}

/** The start of such work, for a path on which a function to call would take 8 ns of 100. REQUIRES: `end` follows, whatever is thrown */
export function begin(): void {
  depth++
}

export function end(): void {
  if (--depth === 0 && waiting.length > 0) publishAll()
}

/** Does work whose messages wait for the end of the caller's, or for a microtask. */
export function quietly<T>(work: () => T): T {
  depth++
  try {
    return work()
  } finally {
    depth--
  }
}

/** In a microtask nothing is under way. */
function publishLeft(): void {
  depth = 0
  publishAll()
}

function publishAll(): void {
  for (let publish = waiting.shift(); publish !== undefined; publish = waiting.shift()) publish()
}
