import test from 'ava'
import { random } from '../support/churn.ts'
import { SHARED_KINDS, SHARED_NAMES } from '../support/shared-kinds.ts'
import { chosenPoints, countPoints, die, expect, type Library, loadStrikable, strikeAt } from '../support/strikes.ts'

const MIB = 2 ** 20

let library: Library
test.before(async () => {
  library = await loadStrikable('strike-leave')
})

const codeOf = (step: () => unknown): string | undefined => {
  try {
    step()
    return undefined
  } catch (error) {
    return (error as { code?: string }).code
  }
}

for (const name of SHARED_NAMES) {
  const kind = SHARED_KINDS[name]
  const open = () => {
    const options = { mapper: new library.SimulatedMapper(), leaks: 'off' as const }
    const survivor = new library.Heap({ limitBytes: 32 * MIB, ...options })
    const victim = library.Heap.attach(survivor.share(), options)
    const before = survivor.stats().liveBytes
    return { survivor, victim, before, shared: kind.make(library, victim) }
  }

  test.serial(`the last thread is struck anywhere in the close of a ${name}: it, or the next one, ends it`, (t) => {
    let struck = 0
    const total = countPoints(open().shared.close)
    for (const n of chosenPoints(total, random(5))) {
      for (const dies of [true, false]) {
        const { survivor, victim, before, shared } = open()
        try {
          expect(strikeAt(n, shared.close), 'it came to its end')
          struck++
          if (dies) die(victim)
          else shared.close()
          const again = () => kind.attach(library, survivor, shared.token)[Symbol.dispose]()
          const first = codeOf(again)
          if (first !== undefined) expect(first === 'ERR_HEAP_INVALID_TOKEN', first)
          if (!dies) expect(first !== undefined, 'it is still there')
          expect(codeOf(again) === 'ERR_HEAP_INVALID_TOKEN', 'it is there again')
          const lost = survivor.stats().liveBytes - before
          expect(lost === 0, `${lost} bytes are lost`)
          const others = Array.from({ length: 20 }, () => survivor.malloc(kind.bytes))
          for (const address of others) survivor.view(address).fill(7)
          if (!dies) shared.close()
          expect(
            others.every((address) => survivor.view(address).every((byte) => byte === 7)),
            'another’s was written'
          )
          survivor.audit()
        } catch (error) {
          t.fail(`point ${n}, ${dies ? 'dead' : 'alive'}: ${error instanceof Error ? error.stack : String(error)}`)
          return
        }
      }
    }
    t.log(`${struck} strikes`)
    t.true(struck > 20)
  })

  test.serial(`a thread is struck anywhere while it opens a ${name}: it is there for the others`, (t) => {
    let struck = 0
    for (let n = 0; ; n++) {
      const { survivor, victim, before, shared } = open()
      try {
        if (!strikeAt(n, () => kind.attach(library, survivor, shared.token))) break
        struck++
        die(survivor)
        kind.attach(library, victim, shared.token)[Symbol.dispose]()
        shared.close()
        const { liveBytes } = victim.stats()
        expect(liveBytes === before, `${liveBytes - before} bytes are lost`)
        victim.audit()
      } catch (error) {
        t.fail(`point ${n}: ${error instanceof Error ? error.stack : String(error)}`)
        return
      }
    }
    t.log(`${struck} strikes`)
    t.true(struck > 10)
  })
}
