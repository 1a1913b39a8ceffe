import type { Mapper } from '../../lib/index.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'

type Reservation = Parameters<Mapper['reserve']>[0]
type Mapping = Exclude<ReturnType<Mapper['reserve']>, number>

/**
 * A simulated system that serves many heaps, one after the other, with the same memory. A heap's release writes to every page that it grew, so
 * fresh memory takes a page fault for each: that was two thirds of a test of a hundred heaps.
 */
export class ReusedMapper extends SimulatedMapper {
  private readonly used: Mapping[] = []
  private readonly spare: Mapping[] = []
  private readonly grown: BigUint64Array[] = []

  override reserve(reservation: Reservation): Mapping | number {
    const found = this.spare.findIndex(({ buffer }) => buffer.byteLength === reservation.byteLength)
    const mapping = found < 0 ? super.reserve(reservation) : this.spare.splice(found, 1)[0]!
    if (typeof mapping === 'number') return mapping
    this.used.push(mapping)
    if (found >= 0) return mapping
    const grow = mapping.grow.bind(mapping)
    mapping.grow = (offset, length) => {
      this.grown.push(new BigUint64Array(mapping.buffer, offset, length / 8))
      return grow(offset, length)
    }
    return mapping
  }

  /** Clears the memory of heaps that are closed, for the next one. */
  reuse(): void {
    for (const words of this.grown.splice(0)) words.fill(0n)
    this.spare.push(...this.used.splice(0))
  }
}
