import test from 'ava'
import { runChild } from '../support/child.ts'

/** Functions whose code goes away with the last object that it was compiled for. */
async function thrownAway(what: string): Promise<number> {
  const { status, stdout, stderr } = await runChild('kept-code', [what], ['--expose-gc', '--trace-deopt'])
  if (status !== 0) throw new Error(stderr)
  return stdout.match(/reason: (embedded )?weak objects/g)?.length ?? 0
}

test('what was compiled for buffers stays when a collection of the old space finds none', async (t) => {
  t.true((await thrownAway('objects')) > 0, 'it goes, where nothing keeps an object of the shape')
  t.is(await thrownAway('buffers'), 0)
})
