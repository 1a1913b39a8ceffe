/** Bytes for people, in binary units. */
export function bytes(count: number): string {
  if (count < 1024) return `${count} B`
  if (count < 2 ** 20) return `${(count / 1024).toFixed(1)} KiB`
  if (count < 2 ** 30) return `${(count / 2 ** 20).toFixed(1)} MiB`
  return `${(count / 2 ** 30).toFixed(2)} GiB`
}

/** Nanoseconds for people: as many digits as are worth reading. */
export function nanoseconds(count: number): string {
  if (count < 100) return `${count.toFixed(1)} ns`
  if (count < 10_000) return `${count.toFixed(0)} ns`
  if (count < 10_000_000) return `${(count / 1000).toFixed(1)} µs`
  return `${(count / 1e6).toFixed(1)} ms`
}
