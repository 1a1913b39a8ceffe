// Loaded into a Node program, and into each of its workers, before its own code: see docs/recording.md.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { getEnvironmentData, isMainThread, setEnvironmentData, threadId } from 'node:worker_threads'
import { RecorderFile, RecorderVariable } from '../node-record.ts'
import { observeArrayBuffers, observeTypedArrays } from './array-buffers.cts'
import { Blocks } from './blocks.cts'
import { observeBuffers } from './buffers.cts'
import { ThreadLog } from './thread-log.cts'

/** What all threads of a recorded process know. */
interface Session {
  folder: string
  events: number
  /** One word: the events of all threads so far. */
  sequence: SharedArrayBuffer
}

/** Where a thread finds its parent's session. */
const SESSION_KEY = 'spanheap:record'

/**
 * Modules of Node that allocate Buffers. What is loaded before `Buffer` is replaced keeps the original, so that what Node
 * makes for itself isn't recorded as the program's.
 */
const ALLOCATING_MODULES = [
  'child_process',
  'crypto',
  'dgram',
  'dns/promises',
  'fs/promises',
  'http2',
  'https',
  'readline/promises',
  'stream/consumers',
  'stream/web',
  'string_decoder',
  'tls',
  'v8',
  'zlib',
]

/** The session of this thread; undefined where it isn't to be recorded. */
function openSession(): Session | undefined {
  if (!isMainThread) return getEnvironmentData(SESSION_KEY) as Session | undefined
  const folder = process.env[RecorderVariable.Folder]
  const events = Number(process.env[RecorderVariable.Events])
  if (folder === undefined || !claims(folder)) return undefined
  const session = { folder, events, sequence: new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT) }
  setEnvironmentData(SESSION_KEY, session)
  return session
}

/** True for the first process of all that are told of a folder. Its children are told too. */
function claims(folder: string): boolean {
  try {
    writeFileSync(join(folder, RecorderFile.Owner), String(process.pid), { flag: 'wx' })
    return true
  } catch {
    return false
  }
}

const session = openSession()
if (session !== undefined) {
  for (const name of ALLOCATING_MODULES) require(`node:${name}`)
  const log = new ThreadLog(session.folder, threadId, new Int32Array(session.sequence), session.events)
  const blocks = new Blocks(log)
  process.on('worker', () => log.workerStarted())
  observeArrayBuffers(blocks)
  observeTypedArrays(blocks)
  observeBuffers(blocks)
}
