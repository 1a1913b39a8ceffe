// Hands buffers of both kinds of memory to every API of Node that test/node-apis/ lists, in several versions of Node, and
// writes docs/node-apis.md from what comes of it. Build first.
//
//     node scripts/node-apis.mjs [--node BINARY]...
//
// Each BINARY is an executable of Node, for instance /opt/node-v24.21.0-linux-x64/bin/node; without any it is the one that runs
// this. For one of another ABI the addon is built anew, in a temporary copy of the project, against the headers beside it
// (../include/node) or, where there are none, against those that node-gyp downloads.
//
// The document is written when all versions that it shows are given. Otherwise only what differs from the list is printed. The
// exit status is 1 where something differs: then the list in test/node-apis/ has to change, and the document follows it.
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { expectedOutcome, KINDS, VERSIONS } from '../dist/test/node-apis/api.js'
import { GROUPS } from '../dist/test/node-apis/list.js'
import { exceptions, families } from '../dist/test/node-apis/table.js'

const PROJECT = fileURLToPath(new URL('../', import.meta.url))
const DOCUMENT = join(PROJECT, 'docs/node-apis.md')
const NODE_GYP = 'node_modules/node-gyp/bin/node-gyp.js'
const RUN_MS = 600_000

const { values } = parseArgs({ options: { node: { type: 'string', multiple: true } } })
const apis = GROUPS.flatMap((group) => group.apis)

/** What comes of all APIs in one Node: its version, and outcomes by API and kind of memory. */
function outcomesIn(node) {
  const modules = execFileSync(node, ['-p', 'process.versions.modules'], { encoding: 'utf8' }).trim()
  const sameAbi = modules === process.versions.modules
  const folder = sameAbi ? PROJECT : projectFor(node)
  try {
    const json = execFileSync(node, ['dist/test/node-apis/outcomes.js'], {
      cwd: folder,
      encoding: 'utf8',
      timeout: RUN_MS,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return JSON.parse(json)
  } finally {
    if (!sameAbi) rmSync(folder, { recursive: true })
  }
}

/** A copy of the project, with an addon for this Node. */
function projectFor(node) {
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-node-'))
  for (const name of ['package.json', 'binding.gyp', 'native', 'dist']) {
    cpSync(join(PROJECT, name), join(folder, name), { recursive: true })
  }
  symlinkSync(join(PROJECT, 'node_modules'), join(folder, 'node_modules'))
  const env = { ...process.env, PATH: dirname(node) + delimiter + process.env.PATH }
  // Set here and not by an option: node-gyp lets npm's settings, which npx puts into the environment, win.
  delete env.npm_config_nodedir
  if (existsSync(join(dirname(node), '../include/node'))) env.npm_config_nodedir = join(dirname(node), '..')
  execFileSync(node, [NODE_GYP, 'rebuild'], { cwd: folder, env, stdio: 'ignore' })
  return folder
}

const runs = new Map()
for (const node of values.node ?? [process.execPath]) {
  const run = outcomesIn(node)
  console.log(`Node ${run.version}: ${Object.keys(run.outcomes).length} APIs`)
  runs.set(Number.parseInt(run.version, 10), run)
}

const outcomeIn = (api, kind, major) => runs.get(major).outcomes[api.name][kind]
for (const api of apis) {
  for (const [major, { version }] of runs) {
    for (const kind of KINDS) {
      const [wanted, found] = [expectedOutcome(api, kind, major), outcomeIn(api, kind, major)]
      if (found === wanted) continue
      console.log(`Node ${version}, ${api.name}, ${kind} memory: ${found}, and the list says ${wanted}`)
      process.exitCode = 1
    }
  }
}

const missing = VERSIONS.filter((major) => !runs.has(major))
if (missing.length > 0) {
  console.log(`docs/node-apis.md is left as it is: it needs Node ${missing.join(', ')} too`)
} else {
  writeFileSync(DOCUMENT, documentText())
  console.log('docs/node-apis.md is written')
}

function documentText() {
  const versions = VERSIONS.map((major) => runs.get(major).version)
  return `# Which Node APIs take buffers of a heap

A buffer of a heap is a Buffer, but not over memory of Node's own: with shared memory it is over a SharedArrayBuffer, with
private memory over one ArrayBuffer that is all of the heap. ${apis.length} APIs were handed both, and the bytes that came out were
compared with those that went in. The bytes are not valid UTF-8, so that a detour through a string is noticed.

## How it was made

This file is written by a script, from what really happens. It was last taken with Node ${versions.join(', ')}:

\`\`\`sh
npm run build
node scripts/node-apis.mjs${VERSIONS.map((major) => ` --node /opt/node${major}/bin/node`).join('')}
\`\`\`

The APIs and what should come of each are listed in test/node-apis/. \`npm test\` tries them all in the Node that runs it, and
compares the tables below with the list.

| in the tables | meaning |
|---|---|
| works | the right bytes came out |
| throws | an error with this code or, where it has none, of this class |
| **wrong bytes** | no error, and other bytes came out |
| **takes the heap** | it transfers the ArrayBuffer under the buffer: all views of the heap have length 0 from then on |
| – | this version doesn't have the API |

## Exceptions

All that is not in this table works with both kinds of memory.

${exceptions(outcomeIn)}

What to do about them:

- **Copy out where an API refuses a buffer.** \`Buffer.from(buffer)\` is a copy in Node's own memory, which every API takes.
- **Or use private memory** (\`new Heap({ memory: 'private' })\`) for WebCrypto, bodies, CompressionStream and WebSocket. They
  take it as any other buffer.
- **Bodies of \`fetch\`, \`Response\` and \`Request\`, and \`WebSocket.send\`, go wrong silently in Node 24 and 26** with shared
  memory. They take the view for something to be made a string of: of a Buffer they send its text, in which each byte that is
  not UTF-8 has become U+FFFD, of a Uint8Array its numbers with commas between. ASCII in a Buffer comes through, so that
  a test with ASCII notices nothing. A Blob of the buffer is right in all versions: \`new Response(new Blob([buffer]))\`.
- **Byte streams are for copies only.** With shared memory they throw. With private memory they transfer what they are given,
  and as the ArrayBuffer is the whole heap's, the heap is lost. The same goes for \`buffer.buffer\` in a transfer list and for
  \`ArrayBuffer.prototype.transfer\`. A stream without \`type: 'bytes'\` passes buffers on as they are. \`Readable.toWeb\` with
  \`type: 'bytes'\` isn't in the tables, since what it throws with shared memory (seen in Node 24) nobody can catch.
- \`Atomics.wait\` needs shared memory, in every program.

Two things work and may surprise. \`structuredClone\` and \`postMessage\` of a buffer copy nothing where memory is shared: both
ends see the same bytes. Where it is private they copy not the view but the ArrayBuffer under it, which is all of the heap.

## All

${families(outcomeIn)}
`
}
