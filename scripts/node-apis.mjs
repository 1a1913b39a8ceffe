// Hands buffers of a heap to every API of Node that test/node-apis/ lists, at a low offset, above 2 GiB and above 4 GiB, in all versions of
// Node of scripts/node-releases.mjs, and writes docs/node-apis.md from what comes of it. Build first.
//
//     node scripts/node-apis.mjs [MAJOR]...
//
// Each version has a copy of the project with an addon of its own. The document is written if no major version is named. Otherwise only what
// differs from the list is printed. The exit status is 1 if something differs: then the list in test/node-apis/ has to change, and the
// document follows it.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expectedOutcome, PLACES, VERSIONS } from '../dist/test/node-apis/api.js'
import { GROUPS } from '../dist/test/node-apis/list.js'
import { exceptions, exceptionsByReason, families, takingIn, throwingAnyway } from '../dist/test/node-apis/table.js'
import { environmentOf, majorsOf, nodeFolderOf, PROJECT, RELEASES } from './node-releases.mjs'
import { prebuild } from './prebuild.mjs'

const DOCUMENT = join(PROJECT, 'docs/node-apis.md')
const RUN_MS = 600_000

const apis = GROUPS.flatMap((group) => group.apis)

/** What comes of all APIs in one Node: its version, and outcomes by API and place. */
function outcomesIn(major) {
  const env = environmentOf(nodeFolderOf(RELEASES[major]))
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-node-'))
  try {
    for (const name of ['package.json', 'dist']) {
      cpSync(join(PROJECT, name), join(folder, name), { recursive: true })
    }
    symlinkSync(join(PROJECT, 'node_modules'), join(folder, 'node_modules'))
    cpSync(prebuild(major), join(folder, 'build/Release/spanheap.node'))
    const json = execFileSync('node', ['dist/test/node-apis/outcomes.js'], {
      cwd: folder,
      env,
      encoding: 'utf8',
      timeout: RUN_MS,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return JSON.parse(json)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const majors = majorsOf(process.argv.slice(2))
const runs = new Map()
for (const major of majors) {
  const run = outcomesIn(major)
  console.log(`Node ${run.version}: ${Object.keys(run.outcomes).length} APIs`)
  runs.set(Number(major), run)
}

const outcomeIn = (api, major, place) => runs.get(major).outcomes[api.name][place]
for (const api of apis) {
  for (const [major, { version }] of runs) {
    for (const place of PLACES) {
      const [wanted, found] = [expectedOutcome(api, major, place), outcomeIn(api, major, place)]
      if (found === wanted) continue
      console.log(`Node ${version}, ${api.name}, ${place}: ${found}, and the list says ${wanted}`)
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
  const byReason = exceptionsByReason(outcomeIn)
  const rows = [...byReason.values()].flat()
  const anyway = throwingAnyway().map(({ name }) => name)
  const taking = VERSIONS.map((major) => ({ major, apis: takingIn(major, outcomeIn) })).filter(
    ({ apis }) => apis.length > 0
  )
  const everTaking = new Set(taking.flatMap(({ apis }) => apis))
  const takingOn = taking.map(({ major, apis }) => `${apis.length} rows on Node ${major}`).join(' and ')
  return `# Which Node APIs take buffers of a heap

A buffer of a heap is a Buffer, but over an ArrayBuffer that is all of the heap. ${apis.length} APIs were handed such buffers, at
${PLACES.length} places in a heap: at a low offset, above 2 GiB and above 4 GiB. The bytes that came out were compared with those that went
in. They are not valid UTF-8, so that a detour through a string is noticed; what an offset would lead to that lost its upper bits holds
other bytes, and is looked at for changes. All APIs are tried with the same heap, one after another. After each of them it must allocate,
fill and free, and have the statistics that it had before.

## How it was made

This file is written by a script, from what really happens. It was last taken with Node ${versions.join(', ')}:

\`\`\`sh
npm run build
node scripts/node-apis.mjs
\`\`\`

The APIs and what should come of each are listed in test/node-apis/. \`npm test\` tries them all in the Node that runs it, and
compares the tables below with the list.

| in the tables | meaning |
|---|---|
| works | the right bytes came out, at all places |
| throws | an error with this code or, if it has none, of this class; the buffer and the heap are as they were |
| takes | the right bytes came out, but all buffers from before have length 0: [below](#what-is-taken) |
| low, above 2 GiB, above 4 GiB | what comes of it there; without these, at all places |
| – | this version doesn't have the API |

The script would also write **wrong bytes**, **breaks the heap** and **hangs**. There are none of them.

## Exceptions

Of ${apis.length} rows ${apis.length - rows.length - anyway.length} work, at all places and in every version that has the API. ${anyway.length} throw for every Buffer, Node's own too:
${anyway.map((name) => `\`${name}\``).join(' and ')}.

The other ${rows.length} are ${byReason.size} things that buffers of a heap aren't for, with several doors to each:

- ${rows.length - everTaking.size} rows (clones, transfer lists, \`respondWithNewView\` of another buffer) throw at all places in all versions.
- ${everTaking.size} rows (\`transfer\`, \`transferToFixedLength\`, chunks for byte streams, reads into a buffer from one) throw at all places on Node 24
  and 26. On Node 20 and 22 they throw above 4 GiB only. At a low offset and above 2 GiB they take the ArrayBuffer there: ${takingOn}.

${exceptions(outcomeIn)}

All of them are for the ArrayBuffer under the buffer, to take it or to copy it, and that is the whole heap. What to do instead:

- **Copy out:** \`Buffer.from(buffer)\` is a copy in Node's own memory, which all of them take.
- **Or allocate the buffer isolated:** \`heap.allocBuffer(size, { isolated: true })\` has an ArrayBuffer of its own, which can be cloned and
  transferred. All that is in the table above works with it; \`npm test\` tries that too.
- **Pass a buffer to another thread that has the heap** without a copy: [threads.md](threads.md#hand-over) says how.
- **Streams without \`type: 'bytes'\`** hand buffers on as they are.
- \`Atomics.wait\` takes a view of \`heap.buffer\`, the SharedArrayBuffer, at the buffer's address.

\`buffer.buffer\` is all of the heap: to clone or to transfer that is refused, but an API that reads bytes (\`new Blob([buffer.buffer])\`)
reads gigabytes. Give it the buffer itself.

### What is taken

One object, not the memory. All buffers of a thread are over one ArrayBuffer; once an API has taken it, those that were made before have
length 0. The heap makes another ArrayBuffer, warns once, and goes on. Every block is still at its address, with its bytes:
\`heap.bufferAt(address)\` and \`heap.view(address)\` show them, and \`freeBuffer\` takes the old buffers. All of this is tried after
each row that takes it. The API has the same bytes: it can still read and write the heap.

Before a thread's first view above 4 GiB is made, the addon keeps V8 from ever detaching the ArrayBuffer of that heap, since a reader of
a byte stream that takes such a view ends the process on Node 20 and 22. From then on these rows throw for low buffers too.

\`FileHandle.readableWebStream\` throws \`ERR_OUT_OF_RANGE\` besides. On Node 20, 22 and 24 its reads fail for every Buffer that doesn't begin
where its ArrayBuffer begins, Node's own too.

## All

${families(outcomeIn)}
`
}
