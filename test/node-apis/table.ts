import { type NodeApi, type Outcome, PLACES, type Place, REASONS, type Reason, VERSIONS } from './api.ts'
import { GROUPS } from './list.ts'

/** What came, or should come, of an API in a version of Node, with buffers at a place. */
export type OutcomeIn = (api: NodeApi, major: number, place: Place) => Outcome

const WORDS: Readonly<Record<Exclude<Outcome, `refused: ${string}` | `taken: ${string}`>, string>> = {
  works: 'works',
  taken: 'takes',
  wrong: '**wrong bytes**',
  broken: '**breaks the heap**',
  hangs: '**hangs**',
  absent: '–',
}
const FINE: readonly Outcome[] = ['works', 'absent']

const apis = GROUPS.flatMap((group) => group.apis)

/** An outcome in the table's words. */
function words(outcome: Outcome): string {
  if (outcome in WORDS) return WORDS[outcome as keyof typeof WORDS]
  const [what, error] = outcome.split(': ')
  return `${what === 'taken' ? 'takes and ' : ''}throws \`${error}\``
}

/** What came at all places; if they differ, with the places where it came. */
function cell(api: NodeApi, major: number, outcomeIn: OutcomeIn): string {
  const places = new Map<string, Place[]>()
  for (const place of PLACES) {
    const found = words(outcomeIn(api, major, place))
    places.set(found, [...(places.get(found) ?? []), place])
  }
  if (places.size === 1) return [...places.keys()][0]!
  return [...places].map(([found, where]) => `${where.join(' and ')}: ${found}`).join('; ')
}

function row(api: NodeApi, outcomeIn: OutcomeIn): string {
  return `| ${[api.name, ...VERSIONS.map((major) => cell(api, major, outcomeIn))].join(' | ')} |`
}

/** Whether something else than the right bytes comes of it somewhere. */
function isException(api: NodeApi, outcomeIn: OutcomeIn): boolean {
  return VERSIONS.some((major) => PLACES.some((place) => !FINE.includes(outcomeIn(api, major, place))))
}

/** The APIs that throw whatever Buffer they are given. */
export function throwingAnyway(): NodeApi[] {
  return apis.filter(({ reason }) => reason === 'every buffer')
}

/** All others that aren't `works` throughout, by their reason; under `undefined` those for which there should be none. */
export function exceptionsByReason(outcomeIn: OutcomeIn): Map<Reason | undefined, NodeApi[]> {
  const found = new Map<Reason | undefined, NodeApi[]>()
  for (const api of apis) {
    if (api.reason === 'every buffer' || !isException(api, outcomeIn)) continue
    found.set(api.reason, [...(found.get(api.reason) ?? []), api])
  }
  return found
}

/** Those that take the ArrayBuffer in a version of Node, at some place. */
export function takingIn(major: number, outcomeIn: OutcomeIn): NodeApi[] {
  return apis.filter((api) => PLACES.some((place) => outcomeIn(api, major, place).startsWith('taken')))
}

/** The table of exceptions: a row for each reason, with what it is called in the tables of all. */
export function exceptions(outcomeIn: OutcomeIn): string {
  const rows = [...exceptionsByReason(outcomeIn)].map(([reason, members]) => {
    const cells = VERSIONS.map((major) => {
      const found = members.filter((api) => outcomeIn(api, major, 'low') !== 'absent')
      return [...new Set(found.map((api) => cell(api, major, outcomeIn)))].join(' / ') || WORDS.absent
    })
    const what = reason === undefined ? '**unexpected**' : REASONS[reason]
    return `| ${[what, ...cells, members.map(({ name }) => name).join('; ')].join(' | ')} |`
  })
  return [`| what | ${VERSIONS.join(' | ')} | in the tables below |`, '|---|---|---|---|---|---|', ...rows].join('\n')
}

/** The tables of all rows, one for each family. */
export function families(outcomeIn: OutcomeIn): string {
  return GROUPS.map((group) =>
    [
      `### ${group.title}`,
      '',
      `| API | ${VERSIONS.join(' | ')} |`,
      '|---|---|---|---|---|',
      ...group.apis.map((api) => row(api, outcomeIn)),
    ].join('\n')
  ).join('\n\n')
}
