/** A system call as strace or the ledger tells it. */
export interface Call {
  call: string
  /** Hexadecimal; of a call that failed to map anything 0x0. */
  address: string
  length: number
  errno?: string
}

/** A system call and where it came from. */
export interface TracedCall extends Call {
  /** The third argument of an madvise, as strace names it. */
  advice: string | undefined
  /** The protection and the flags of an mmap, as strace names them. */
  mapping: string | undefined
  /** The file of the first frame that isn't the C library's; empty where the stack is unknown or wasn't asked for. */
  from: string
}

const C_LIBRARY = /\/(libc|ld-linux)[-.]/

/** The calls in strace's output; a call that another thread interrupts is in two lines there. */
export function parseStrace(text: string): TracedCall[] {
  const calls: TracedCall[] = []
  const unfinished = new Map<string, string>()
  let last: TracedCall | undefined
  for (const line of text.split('\n')) {
    const frame = line.match(/^ > ([^(]*)\(/)
    if (frame !== null) {
      if (last?.from === '' && !C_LIBRARY.test(frame[1]!)) last.from = frame[1]!
      continue
    }
    const [, thread, rest] = line.match(/^(\d+) +(.*)$/) ?? []
    if (thread === undefined || rest === undefined) continue
    last = undefined
    if (rest.endsWith('<unfinished ...>')) {
      unfinished.set(thread, rest.slice(0, -'<unfinished ...>'.length).trimEnd())
      continue
    }
    const resumed = rest.match(/^<\.\.\. \w+ resumed>(.*)$/)
    last = callOf(resumed === null ? rest : (unfinished.get(thread) ?? '') + resumed[1])
    if (last !== undefined) calls.push(last)
  }
  return calls
}

function callOf(line: string): TracedCall | undefined {
  const parts = line.match(/^(\w+)\((\w+), (\d+)(?:, ([^)]*))?\) += (\S+)(?: (E[A-Z]+) )?/)
  if (parts === null) return undefined
  const [, call, address, length, others, result, errno] = parts
  return {
    call: call!,
    address: call === 'mmap' ? (errno === undefined ? result! : '0x0') : address!,
    length: Number(length),
    ...(errno === undefined ? {} : { errno }),
    advice: call === 'madvise' ? others : undefined,
    mapping: call === 'mmap' ? others?.split(', ').slice(0, 2).join(', ') : undefined,
    from: '',
  }
}
