/** The words of a trace file, MTRC version 1: see docs/traces.md. */
export const enum Mtrc {
  /** The letters MTRC, little-endian. */
  Magic = 0x4352544d,
  Version = 1,
  HeaderWords = 8,
  RecordWords = 3,
  /** A record names its thread in 8 bits. */
  MostThreads = 256,
  /** log2 of the largest alignment, of 64 MiB. */
  MostAlignmentLog2 = 26,
}

/** The largest size that a record can hold. */
export const MOST_RECORDED_BYTES = 2 ** 32 - 1
