import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { json, text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { packageIsThere } from '../../framework/packages.ts'
import type { Bench, Configuration, MeasuredRow, Medians, Scale, Suite, Verdict } from '../../framework/suite.ts'
import { DESCRIPTOR, type ProgramFigures } from './figures.ts'

const BEFORE = 'as it was'
const AFTER = 'with spanheap'
type Version = 'before' | 'after'

/** A program of examples/recipes/. */
interface Recipe {
  readonly name: string
  readonly packages: readonly string[]
  readonly versions: readonly Version[]
  /** How much it does: uploads, requests, records. The clients and the random numbers are the same each time. */
  readonly work: Readonly<Record<Scale, number>>
}

const RECIPES: readonly Recipe[] = [
  {
    name: 'uploads',
    packages: ['fastify', '@fastify/multipart'],
    versions: ['before', 'after'],
    work: { full: 1500, quick: 200 },
  },
  {
    name: 'proxy',
    packages: ['undici', 'lru-cache'],
    versions: ['before', 'after'],
    work: { full: 12_000, quick: 2000 },
  },
  {
    name: 'messages',
    packages: ['@msgpack/msgpack'],
    versions: ['before', 'after'],
    work: { full: 500_000, quick: 50_000 },
  },
  { name: 'frames', packages: [], versions: ['before', 'after'], work: { full: 1500, quick: 200 } },
  { name: 'broadcast', packages: ['ws'], versions: ['before', 'after'], work: { full: 3000, quick: 500 } },
  { name: 'broker', packages: ['aedes', 'mqtt'], versions: ['before'], work: { full: 6000, quick: 1000 } },
]

/** A descriptor that the program doesn't use by itself. */
const FIGURES_TO = 3

export interface ProgramParameters {
  readonly program: string
  readonly version: Version
  readonly work: number
}

/** Where a program is: in the package spanheap, since it is an example too. */
export function pathOf(program: string, version: Version): string {
  const root = fileURLToPath(new URL('.', import.meta.resolve('spanheap/package.json')))
  return join(root, 'examples/recipes', program, `${version}.js`)
}

/** Runs a program, with its load, in a process of its own. */
async function measure({ program, version, work }: ProgramParameters): Promise<MeasuredRow[]> {
  const watch = new URL('figures.js', import.meta.url).href
  const child = spawn(process.execPath, ['--import', watch, pathOf(program, version), String(work)], {
    env: { ...process.env, [DESCRIPTOR]: String(FIGURES_TO) },
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  })
  const [figures, errors, [status]] = await Promise.all([
    json(child.stdio[FIGURES_TO] as Readable).catch(() => undefined) as Promise<ProgramFigures | undefined>,
    text(child.stderr!),
    once(child, 'exit'),
  ])
  if (status !== 0 || figures === undefined) throw new Error(`${program} ended with ${status}: ${errors}`)
  return [{ row: program, values: { ...figures } }]
}

function configurations({ scale }: Bench): readonly Configuration[] {
  return RECIPES.filter(({ packages }) => packages.every(packageIsThere)).flatMap(({ name, versions, work }) =>
    versions.map((version) => ({
      contender: version === 'before' ? BEFORE : AFTER,
      row: name,
      process: { kind: 'own', parameters: { program: name, version, work: work[scale] } satisfies ProgramParameters },
    }))
  )
}

/** What each recipe is to gain: a figure over that of the program as it was. */
const BARS = [
  { program: 'uploads', metric: 'wallMs', most: 0.8, claim: 'uploads take at most 0.8 of the time' },
  {
    program: 'uploads',
    metric: 'majors',
    most: 0.25,
    claim: 'uploads bring on at most a quarter of the major collections',
  },
  { program: 'proxy', metric: 'wallMs', most: 0.8, claim: 'the proxy takes at most 0.8 of the time' },
  {
    program: 'proxy',
    metric: 'majorMs',
    most: 0.3,
    claim: "the proxy's major collections take at most 0.3 of the time",
  },
  {
    program: 'proxy',
    metric: 'residentBytes',
    most: 0.5,
    claim: 'the proxy keeps at most half once its cache is cleared',
  },
  { program: 'messages', metric: 'wallMs', most: 0.75, claim: 'messages take at most 0.75 of the time' },
] as const

function verdicts(medians: Medians): readonly Verdict[] {
  return BARS.flatMap(({ program, metric, most, claim }) => {
    const [before, after] = [medians.of(program, BEFORE, metric), medians.of(program, AFTER, metric)]
    return before === undefined || after === undefined ? [] : [{ claim, value: after / before, bar: { most } }]
  })
}

export const programs: Suite<ProgramParameters> = {
  name: 'programs',
  title: 'Programs',
  question:
    'What do programs of packages from npm gain by at most eight changed lines? Those of examples/recipes/, with and without the change; clients are other processes. The broker is there as it was only: what its collections take is all that could be gained.',
  metrics: [
    { name: 'wallMs', title: 'time', unit: 'ms', better: 'less' },
    { name: 'processorMs', title: 'processor time', unit: 'ms', better: 'less' },
    { name: 'majors', title: 'major collections', unit: 'count', better: 'less' },
    { name: 'majorMs', title: 'time in them', unit: 'ms', better: 'less' },
    { name: 'minorMs', title: 'in minor ones', unit: 'ms', better: 'less' },
    { name: 'peakBytes', title: 'peak resident', unit: 'bytes', better: 'less' },
    { name: 'residentBytes', title: 'resident at the end', unit: 'bytes', better: 'less' },
  ],
  charts: [
    { kind: 'bars', metric: 'wallMs', title: 'Time of a program' },
    { kind: 'bars', metric: 'majorMs', title: 'Time in major collections' },
    { kind: 'bars', metric: 'residentBytes', title: 'Resident at the end' },
  ],
  configurations,
  measure,
  verdicts,
}
