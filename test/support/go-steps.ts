import type { TypeLayout } from '../../lib/go/index.ts'

/** What a generated step does to a graph of objects. */
export type StepKind =
  | 'link'
  | 'allocate'
  | 'move'
  | 'set'
  | 'clear'
  | 'root'
  | 'unroot'
  | 'open'
  | 'close'
  | 'malloc'
  | 'free'
  | 'slice'
  | 'look'

export interface Step {
  kind: StepKind
  /** 0 to 511, each: which object, which field, how many. */
  a: number
  b: number
  c: number
}

const KINDS: readonly StepKind[] = [
  ...['link', 'link', 'link', 'link', 'link', 'link', 'link', 'allocate'],
  ...['move', 'move', 'move', 'move', 'move', 'set', 'set', 'clear'],
  ...['root', 'root', 'unroot', 'unroot', 'open', 'close', 'malloc', 'free'],
  ...['slice', 'slice', 'slice', 'slice', 'slice', 'slice', 'slice', 'look'],
] as StepKind[]

/** Steps are generated as numbers up to this. */
export const MOST_STEP = 2 ** 32 - 1

/** The step that a number stands for. */
export function decodeStep(code: number): Step {
  return { kind: KINDS[code & 31]!, a: (code >>> 5) & 511, b: (code >>> 14) & 511, c: code >>> 23 }
}

/** The step for people. */
export function describeStep({ kind, a, b, c }: Step): string {
  return `${kind}(${a}, ${b}, ${c})`
}

/** The layout that a number stands for: mostly 8 to 400 bytes; some tiny, some of several KiB, some large. */
export function decodeLayout(code: number): TypeLayout {
  const mantissa = code >>> 6
  const size = [
    8 + (mantissa % 393),
    8 + (mantissa % 57),
    mantissa % 17,
    400 + (mantissa % 32_369),
    0x8001 + (mantissa % 30_000),
  ][[0, 0, 0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 0, 3, 3, 4][code & 15]!]!
  const density = [0, 1, 2, 8][(code >>> 4) & 3]!
  return { size, pointers: pointersIn(size, density, mantissa) }
}

/** Byte offsets of pointers, in no order: of few, at the start, the end and somewhere between; of many, of each `density`th word. */
function pointersIn(size: number, density: number, seed: number): number[] {
  const units = Math.floor(size / 8)
  if (units === 0 || density === 0) return []
  const places = density < 8 ? [units - 1, 0, seed % units, (seed >>> 5) % units] : everyThird(units, seed)
  return [...new Set(density === 1 ? places.slice(seed & 1, 2 + (seed & 1)) : places)].map((unit) => unit * 8)
}

function everyThird(units: number, seed: number): number[] {
  return Array.from({ length: units }, (_, unit) => unit).filter(
    (unit) => (Math.imul(unit + 1, seed | 1) >>> 4) % 3 === 0
  )
}
