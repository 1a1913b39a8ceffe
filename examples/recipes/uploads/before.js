// Files come by multipart uploads; each is hashed and written to disk. As one writes it with fastify and @fastify/multipart.
//
//     node examples/recipes/uploads/before.js [UPLOADS]
import { fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import multipart from '@fastify/multipart'
import Fastify from 'fastify'

const [uploads = '1500'] = process.argv.slice(2)
const folder = await mkdtemp(join(tmpdir(), 'spanheap-uploads-'))
const app = Fastify()
await app.register(multipart, { limits: { fileSize: 8 << 20 } })
app.post('/upload', async (request) => {
  const part = await request.file()
  const body = await part.toBuffer()
  const sha1 = createHash('sha1').update(body).digest('hex')
  await writeFile(join(folder, `${sha1.slice(0, 2)}.bin`), body)
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
