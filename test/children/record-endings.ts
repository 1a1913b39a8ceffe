// Allocates 100 Buffers of 1000 bytes and then ends, or waits to be ended, as its argument says.
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'

const [, script, ending] = process.argv
const kept = Array.from({ length: 100 }, () => Buffer.alloc(1000))

if (ending === 'status') process.exitCode = 7
if (ending === 'exit') process.on('exit', () => kept.push(Buffer.alloc(1000)))
if (ending === 'throw') throw new Error('on purpose')
if (ending === 'child') fork(script!, ['none'])
if (ending === 'other-environment') new Worker(fileURLToPath(import.meta.url), { env: {} })
// What follows is not at once: what the running job has recorded may be kept back until it has ended.
if (ending === 'kill') setTimeout(() => process.kill(process.pid, 'SIGKILL'), 50)
if (ending === 'wait') {
  setInterval(() => kept.length, 1000)
  setImmediate(() => process.stdout.write('ready\n'))
}
if (ending === 'handler') {
  setInterval(() => kept.length, 1000)
  process.once('SIGINT', () => process.exit(5))
  setImmediate(() => process.stdout.write('ready\n'))
}
