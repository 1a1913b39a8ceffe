// A quick benchmark beside the last release's: how many times as long a peer takes as this package, then and now. Under a minute. It only
// reports: on a busy or another machine the ratios move as well. Compile first.
//
//     node scripts/bench-release.mjs
//     node scripts/bench-release.mjs --write
//
// `--write` is a part of a release, on an idle machine: it puts this tree's ratios into tools/bench/last-release.json.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const RELEASE = join(ROOT, 'tools/bench/last-release.json')
/** Suites that take seconds, each with the contender that isn't ours and is on every machine. */
const PEERS = { views: 'Buffer.allocUnsafe', growth: 'glibc' }

function measure() {
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-bench-'))
  const json = join(folder, 'figures.json')
  try {
    const options = ['--quick', '--only', ...Object.keys(PEERS), '--rounds', '2', '--json', json]
    const command = [join(ROOT, 'dist/tools/cli/main.js'), 'bench', ...options, '--html', join(folder, 'report.html')]
    execFileSync(process.execPath, command, { stdio: 'ignore' })
    return JSON.parse(readFileSync(json, 'utf8'))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** By suite, row, figure and contender: the peer's time over that contender's. */
function ratiosOf({ suites }) {
  const ratios = {}
  for (const { name, measurements, metrics } of suites) {
    for (const { row, metric, contender, median } of measurements) {
      const peer = measurements.find(
        (other) => other.contender === PEERS[name] && other.metric === metric && other.row === row
      )
      const isTime = metrics.find((each) => each.name === metric)?.unit === 'ns'
      if (contender === PEERS[name] || peer === undefined || !isTime) continue
      ratios[[name, row, metric, contender].join(', ')] = Number((peer.median / median).toPrecision(3))
    }
  }
  return ratios
}

const result = measure()
const ratios = ratiosOf(result)
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
if (process.argv.includes('--write')) {
  const figures = { version, takenAt: result.startedAt, node: result.machine.node, ratios }
  writeFileSync(RELEASE, `${JSON.stringify(figures, null, 2)}\n`)
}
const before = existsSync(RELEASE) ? JSON.parse(readFileSync(RELEASE, 'utf8')) : { version: 'none', ratios: {} }
console.log(
  `times as fast as the peer (${Object.entries(PEERS)
    .map(([suite, peer]) => `${suite}: ${peer}`)
    .join(', ')})`
)
console.log(`${`release ${before.version}`.padStart(14)}${'now'.padStart(10)}  suite, row, figure, contender`)
for (const [name, ratio] of Object.entries(ratios)) {
  const then = before.ratios[name]
  console.log(`${String(then ?? '-').padStart(14)}${String(ratio).padStart(10)}  ${name}`)
}
