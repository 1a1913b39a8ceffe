import { AllocatorError } from '../base/errors.ts'
import type { PassedBlock } from '../buffers/passed-block.ts'
import { Lease, type Lender } from '../lifetime/lease.ts'

/** Lends a part of a lease's buffer. The part is a user of the whole until it ends. */
class WholeLease implements Lender {
  private readonly whole: Lease<ArrayBufferView>

  constructor(whole: Lease<ArrayBufferView>) {
    this.whole = whole
  }

  endLease(): void {
    this.whole.release()
  }

  passLease(): PassedBlock {
    throw new AllocatorError('ERR_HEAP_UNSUPPORTED', 'a part of a lease can’t be passed: pass the whole, or a copy')
  }

  beginOperation(): () => void {
    return this.whole.hold()
  }
}

/** A lease of a part of a lease's buffer, which keeps the whole. @throws AllocatorError `ERR_HEAP_STALE_HANDLE` */
export function leaseOfPart<B extends ArrayBufferView>(whole: Lease<ArrayBufferView>, part: B): Lease<B> {
  return new Lease(new WholeLease(whole.retain()), 0, part)
}
