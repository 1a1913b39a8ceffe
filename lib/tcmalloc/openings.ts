import type { ReservationOptions } from '../memory/reservation.ts'
import { type TableSizes, Tables } from '../memory/tables.ts'
import type { Mapper, Mapping } from '../os/mapper.ts'

/** What the tiers are made with; a heap has checked it. */
export interface TCMallocOptions extends ReservationOptions {
  /** What all thread caches together may hold. */
  cacheBytes: number
  releaseRate: number
}

/** Tables beside a reservation, which is given up where there is no memory for them. */
export function openTables(mapper: Mapper, mapping: Mapping, sizes: TableSizes, adopted: Mapping | undefined): Tables {
  try {
    return new Tables(mapper, sizes, adopted)
  } catch (error) {
    mapping.close()
    throw error
  }
}

/** The slot of a new heap's first thread. Where there is no memory for its area, all is given up. */
export function claimFirst(tables: Tables, mapping: Mapping): { slot: number; area: Int32Array } {
  try {
    return tables.claimSlot()
  } catch (error) {
    tables.close()
    mapping.close()
    throw error
  }
}
