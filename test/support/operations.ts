/** What a generated operation does. A run is many calls of one kind: enough to fill, drain and overflow caches. */
export type Kind =
  | 'malloc'
  | 'mallocRun'
  | 'calloc'
  | 'realloc'
  | 'alignedAlloc'
  | 'free'
  | 'freeRun'
  | 'wrongFree'
  | 'release'

export interface Operation {
  kind: Kind
  /** Bytes. */
  size: number
  /** 0 to 255: which live block, which alignment, how long a run. */
  pick: number
}

const KINDS: readonly Kind[] = [
  'malloc',
  'malloc',
  'malloc',
  'malloc',
  'malloc',
  'calloc',
  'mallocRun',
  'realloc',
  'realloc',
  'alignedAlloc',
  'free',
  'free',
  'free',
  'freeRun',
  'wrongFree',
  'release',
]

/** Operations are generated as numbers up to this: the size in the highest bits, so that smaller numbers are smaller blocks. */
export const MOST_CODE = 2 ** 32 - 1

const KIND_BITS = 4
const PICK_BITS = 8
const MANTISSA_BITS = 15

export const LARGEST_BLOCK = 80 * 2 ** 20

/** The operation that a number stands for. */
export function decode(code: number): Operation {
  const kind = KINDS[code % 2 ** KIND_BITS]!
  const pick = Math.floor(code / 2 ** KIND_BITS) % 2 ** PICK_BITS
  const size = sizeOf(Math.floor(code / 2 ** (KIND_BITS + PICK_BITS)), pick)
  return { kind, size, pick }
}

/** Mostly small sizes, the limits of size classes and pages among them; 1 in 1000 is 1 to 80 MiB. */
function sizeOf(bits: number, pick: number): number {
  const scale = bits >>> MANTISSA_BITS
  const mantissa = bits % 2 ** MANTISSA_BITS
  if (scale < 8) return mantissa % 257
  if (scale < 16) return mantissa % 1025
  if (scale < 22) return mantissa % 8193
  if (scale < 26) return 2 ** (4 + (mantissa % 15)) + ((mantissa >>> 4) % 3) - 1
  if (scale < 29) return mantissa * 2
  if (scale < 30) return mantissa * 8
  if (scale < 31) return 2 ** 18 + mantissa * 24
  if (pick >= 8) return (1 + (mantissa % 64)) * 8192
  return Math.min(LARGEST_BLOCK, 2 ** 20 + mantissa * 2560)
}

/** The operation for people. */
export function describe({ kind, size, pick }: Operation): string {
  return `${kind}(size ${size}, pick ${pick})`
}
