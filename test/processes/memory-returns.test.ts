import test from 'ava'
import type { MemoryReturnsReport } from '../children/memory-returns.ts'
import { reportOf, runChild } from '../support/child.ts'

const MIB = 2 ** 20
/** By hand with more: SPANHEAP_RETURN_MIB=1024 npx ava dist/test/processes/memory-returns.test.js */
const BYTES = Number(process.env.SPANHEAP_RETURN_MIB ?? 256) * MIB

test.serial('freed memory goes back to the system, and the tables for it', async (t) => {
  const ended = await runChild('memory-returns', [String(BYTES)])
  const { fresh, full, freed, released, given, mappedBytes, liveBytes } = reportOf<MemoryReturnsReport>(ended)
  t.log(
    Object.entries({ fresh, full, freed, released })
      .map(([step, { objects, tables }]) => `${step}: ${objects / MIB} + ${tables / MIB} MiB`)
      .join(', ')
  )
  t.is(liveBytes, 0)
  t.is(fresh.objects, 0)
  t.true(full.objects >= BYTES, 'the blocks were written to')
  t.true(released.objects <= 2 * MIB, `${released.objects} bytes of objects are resident`)
  t.true(
    released.tables <= fresh.tables + MIB,
    `${released.tables} bytes of tables are resident, ${fresh.tables} at first`
  )
  t.true(given > 0 && given <= mappedBytes)
})

test.serial('the memory of a killed worker goes back as its thread ends, without another call', async (t) => {
  const { bytes, returned } = reportOf<{ bytes: number; returned: number }>(await runChild('killed-worker'))
  t.true(returned > 0.9 * bytes, `${returned} of ${bytes} bytes`)
})
