import test from 'ava'
import { type Kind, Refuser } from './refuser.ts'
import { SCENARIOS, type Scenario } from './scenarios.ts'

const MIB = 2 ** 20
const LIMIT_BYTES = 10 * MIB
/** A heap of so much is full, but for so many blocks of 64 KiB. */
const FULL_BYTES = 8 * MIB
const FREE_BLOCKS = [0, 1, 5]

/** Plays a scenario while the k-th call is refused. Whether there was one. */
async function refuse(
  { open, play }: Scenario,
  kind: Kind,
  k: number
): Promise<{ refuser: Refuser; refusals: number }> {
  const refuser = new Refuser(kind, k)
  let refusals = 0
  await refuser.during(async () => {
    const world = open(refuser, kind === 'limit' ? FULL_BYTES : LIMIT_BYTES)
    if (kind === 'limit') world.fill(k)
    await play(world as never)
    world.finish()
    refusals = world.refusals
  })
  return { refuser, refusals }
}

for (const scenario of SCENARIOS) {
  for (const kind of ['system call', 'malloc', 'typed array'] as const) {
    test.serial(
      `${scenario.name}: whichever ${kind} is refused, nothing is lost or doubled, and all goes on`,
      async (t) => {
        for (let k = 1; ; k++) {
          try {
            const { refuser } = await refuse(scenario, kind, k)
            if (refuser.calls < k) {
              t.log(`${refuser.calls} calls`)
              break
            }
          } catch (error) {
            throw new Error(`${kind} ${k}`, { cause: error })
          }
        }
        t.pass()
      }
    )
  }

  test.serial(`${scenario.name}: a heap that is full refuses each call until there is room`, async (t) => {
    let all = 0
    for (const free of FREE_BLOCKS) all += (await refuse(scenario, 'limit', free)).refusals
    t.log(`${all} refusals`)
    t.true(all > 0)
  })
}
