// The same server: each file is collected into a lease.
//
//     node examples/recipes/uploads/after.js [UPLOADS]
import { fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import multipart from '@fastify/multipart'
import Fastify from 'fastify'
import { PoolSet } from 'spanheap'

const [uploads = '1500'] = process.argv.slice(2)
const folder = await mkdtemp(join(tmpdir(), 'spanheap-uploads-'))
const app = Fastify()
const pools = new PoolSet()
await app.register(multipart, { limits: { fileSize: 8 << 20 } })
app.post('/upload', async (request) => {
  const part = await request.file()
  const sizeHint = Number(request.headers['content-length'] ?? 0)
  const lease = await pools.collect(part.file, { sizeHint, maxBytes: 8 << 20 })
  if (part.file.truncated) lease.release()
  if (part.file.truncated) throw new app.multipartErrors.RequestFileTooLargeError()
  const body = lease.buffer
  const sha1 = createHash('sha1').update(body).digest('hex')
  await lease.during(writeFile(join(folder, `${sha1.slice(0, 2)}.bin`), body)).finally(() => lease.release())
  return { sha1, size: body.length }
})

await app.listen({ port: 0, host: '127.0.0.1' })
const clients = fork(new URL('clients.js', import.meta.url), [String(app.server.address().port), uploads])
clients.once('message', ({ bytes }) => console.log(`${uploads} uploads, ${bytes} bytes`))
clients.once('exit', async (status) => {
  process.exitCode = status
  await app.close()
  await rm(folder, { recursive: true })
})
