import type { GoProgram } from './go-programs.ts'
import type { Machine } from './machine.ts'
import type { NativeProgram } from './native-programs.ts'
import type { Peer } from './peers.ts'

/** How much is measured: all of it, or what fits in less than a minute. */
export type Scale = 'full' | 'quick'

/** What a row is of: a trace, a pattern, a number of bytes. */
export type RowKey = string | number

/** Points of a line, `[x, y]`. */
export type Points = readonly (readonly [number, number])[]

/** What one process measured of one row. A value is null where it has no answer. */
export interface MeasuredRow {
  readonly row: RowKey
  readonly values: Readonly<Record<string, number | null>>
  /** What is drawn and not compared: something over time, or counts of a histogram. */
  readonly series?: Readonly<Record<string, Points>>
}

/** A process of this package's, which calls the suite's `measure` with these parameters. */
export interface OwnProcess {
  readonly kind: 'own'
  readonly parameters: unknown
  readonly nodeArguments?: readonly string[]
}

/** A process of a program in bench/native, on a peer's malloc. It prints what `measure` returns, as JSON. */
export interface NativeProcess {
  readonly kind: 'native'
  readonly program: NativeProgram
  readonly arguments: readonly string[]
  readonly peer: Peer
}

/** A process of a program in Go. It prints what `measure` returns, as JSON. */
export interface GoProcess {
  readonly kind: 'go'
  readonly program: GoProgram
  readonly arguments: readonly string[]
}

/** A process that a suite has measured, once in every round, and who it stands for. */
export interface Configuration {
  readonly contender: string
  readonly process: OwnProcess | NativeProcess | GoProcess
  /** The row, where the process prints the values of one and not rows. */
  readonly row?: RowKey
}

/** A figure that is compared. */
export interface Metric {
  /** Its name in `values`. */
  readonly name: string
  /** What a reader sees. */
  readonly title: string
  readonly unit: 'ns' | 'ops/s' | 'bytes' | 'count' | 'ratio' | 'ms'
  readonly better: 'less' | 'more'
}

/** A picture of a suite. */
export type Chart =
  /** Bars with their intervals: one group for each row. */
  | { readonly kind: 'bars'; readonly metric: string; readonly title: string; readonly logarithmic?: boolean }
  /** Lines over the rows, which are numbers. */
  | {
      readonly kind: 'lines'
      readonly metric: string
      readonly title: string
      readonly x: string
      readonly logarithmic: 'x' | 'y' | 'both'
    }
  /** A series of each contender, one small picture for each row. */
  | {
      readonly kind: 'series'
      readonly series: readonly string[]
      readonly title: string
      readonly x: string
      readonly y: string
      readonly logarithmic?: 'x' | 'y' | 'both'
    }

/** The medians of a suite, to be asked by row, contender and metric. */
export interface Medians {
  readonly rows: readonly RowKey[]
  readonly contenders: readonly string[]
  /** Undefined where nothing was measured. */
  of(row: RowKey, contender: string, metric: string): number | undefined
}

/** Something that the project says of itself, and whether this run bears it out. */
export interface Verdict {
  readonly claim: string
  readonly value: number
  /** What the value must not pass. */
  readonly bar: { readonly most: number } | { readonly least: number }
  /** By how much rows differ of what it is made of, and whatever else a reader needs. */
  readonly detail?: string
}

/** What there is to measure with. */
export interface Bench {
  readonly scale: Scale
  readonly machine: Machine
  /** The native allocators that were found. */
  readonly peers: readonly Peer[]
  /** A path for a file that is gone after the run. */
  temporary(name: string): string
}

/** A question, and how it is answered. */
export interface Suite<Parameters = never> {
  readonly name: string
  readonly title: string
  /** What a reader learns from it; one or two sentences. */
  readonly question: string
  /** What a row is, where it is a number: what the column is called, and the number's unit. */
  readonly rows?: { readonly title: string; readonly unit: 'bytes' | 'count' }
  readonly metrics: readonly Metric[]
  readonly charts: readonly Chart[]
  /** What is measured in one round. The peers' and ours interleave in the order given. */
  configurations(bench: Bench): readonly Configuration[]
  /** Runs in a process of its own. */
  measure(parameters: Parameters): readonly MeasuredRow[] | Promise<readonly MeasuredRow[]>
  verdicts?(medians: Medians): readonly Verdict[]
}
