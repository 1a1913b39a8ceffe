import type { MemoryKind } from '../../lib/os/mapper.ts'
import { KINDS, type NodeApi, type Outcome, VERSIONS } from './api.ts'
import { GROUPS } from './list.ts'

/** What came, or should come, of an API with a kind of memory in a version of Node. */
export type OutcomeIn = (api: NodeApi, kind: MemoryKind, major: number) => Outcome

const WORDS: Readonly<Record<Exclude<Outcome, `refused: ${string}`>, string>> = {
  works: 'works',
  wrong: '**wrong bytes**',
  detached: '**takes the heap**',
  hangs: '**hangs**',
  absent: '–',
}

/** An outcome in the table's words. */
function cell(outcome: Outcome): string {
  return outcome in WORDS ? WORDS[outcome as keyof typeof WORDS] : `throws \`${outcome.replace('refused: ', '')}\``
}

/** A row of the tables of docs/node-apis.md. */
export function row(api: NodeApi, outcomeIn: OutcomeIn): string {
  const cells = KINDS.flatMap((kind) => VERSIONS.map((major) => cell(outcomeIn(api, kind, major))))
  return `| ${[api.name, ...cells].join(' | ')} |`
}

const HEAD = [
  `| API | ${KINDS.flatMap((kind) => VERSIONS.map((major) => `${kind}, ${major}`)).join(' | ')} |`,
  `|---|${'---|'.repeat(KINDS.length * VERSIONS.length)}`,
]

/** The table of all rows that aren't `works` throughout. */
export function exceptions(outcomeIn: OutcomeIn): string {
  const isOne = (api: NodeApi) =>
    KINDS.some((kind) => VERSIONS.some((major) => !['works', 'absent'].includes(outcomeIn(api, kind, major))))
  const rows = GROUPS.flatMap(({ apis }) => apis.filter(isOne)).map((api) => row(api, outcomeIn))
  return [...HEAD, ...rows].join('\n')
}

/** The tables of all rows, one for each family. */
export function families(outcomeIn: OutcomeIn): string {
  return GROUPS.map(({ title, apis }) =>
    [`### ${title}`, '', ...HEAD, ...apis.map((api) => row(api, outcomeIn))].join('\n')
  ).join('\n\n')
}
