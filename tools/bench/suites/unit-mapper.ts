import type { Mapper, Mapping, Reservation } from 'spanheap'

/**
 * A door to the system by which a heap is given its objects' memory in units of a size of one's own, with a system call for each: more
 * calls than the heap makes itself where the unit is smaller than what it asks for, and fewer where it is larger.
 */
export function unitMapper(mapper: Mapper, unit: number): Mapper {
  const reserve = (reservation: Reservation): Mapping | number => {
    const mapping = mapper.reserve(reservation)
    // Tables grow at several places at once, and are left alone: only they want no huge pages.
    return typeof mapping === 'number' || !reservation.hugePages ? mapping : withUnit(mapping, unit)
  }
  // Methods of the mapper find themselves by their prototype; what is asked of this one goes there.
  return new Proxy(mapper, {
    get: (target, name) => {
      if (name === 'reserve') return reserve
      const value = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

/** A heap grows from the front to the back, without a gap. */
function withUnit(mapping: Mapping, unit: number): Mapping {
  let grownTo: number | undefined
  const grow = (offset: number, length: number): number => {
    grownTo ??= offset
    while (grownTo < offset + length) {
      const more = Math.min(unit, mapping.buffer.byteLength - grownTo)
      const errno = mapping.grow(grownTo, more)
      if (errno !== 0) return errno
      grownTo += more
    }
    return 0
  }
  return new Proxy(mapping, {
    get: (target, name) => {
      if (name === 'grow') return grow
      const value = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
