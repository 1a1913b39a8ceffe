// A cache of a file's pages: a fixed number of buffers of 8 KiB, each at a multiple of 4096. A page that isn't there takes the
// buffer of the one that wasn't used longest. However long it runs, it holds that much memory, and the collector has no part in it.
//
//     node examples/page-cache.js [FILE] [PAGES_IN_CACHE] [READS]
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BufferPool } from 'spanheap'

const PAGE_BYTES = 8192
const FILE_PAGES = 4096

class PageCache {
  hits = 0
  misses = 0
  /** The page that was used last comes last. */
  pages = new Map()

  constructor(file, most) {
    this.file = file
    this.pool = new BufferPool({
      size: PAGE_BYTES,
      max: most,
      idleBytes: most * PAGE_BYTES,
      alignment: 4096,
      tag: 'pages',
    })
  }

  /** A page's bytes, which are good until the next call: to be called when the one before has come to its end. */
  async read(number) {
    const cached = this.pages.get(number)
    if (cached === undefined) return this.fetch(number)
    this.hits++
    this.pages.delete(number)
    this.pages.set(number, cached)
    return cached
  }

  async fetch(number) {
    this.misses++
    const buffer = this.pool.tryAcquire() ?? this.evict()
    try {
      const { bytesRead } = await this.file.read(buffer, 0, PAGE_BYTES, number * PAGE_BYTES)
      buffer.fill(0, bytesRead) // the last page may be a part of one
    } catch (error) {
      this.pool.release(buffer)
      throw error
    }
    this.pages.set(number, buffer)
    return buffer
  }

  /** The buffer of the page that wasn't used longest. */
  evict() {
    const [number, buffer] = this.pages.entries().next().value
    this.pages.delete(number)
    this.pool.release(buffer)
    return this.pool.acquire()
  }

  close() {
    for (const buffer of this.pages.values()) this.pool.release(buffer)
    this.pages.clear()
    this.pool.close()
  }
}

/** A file whose pages begin with their numbers. */
async function makeFile() {
  const folder = await mkdtemp(join(tmpdir(), 'spanheap-pages-'))
  const bytes = Buffer.alloc(FILE_PAGES * PAGE_BYTES)
  for (let page = 0; page < FILE_PAGES; page++) bytes.writeUInt32LE(page, page * PAGE_BYTES)
  await writeFile(join(folder, 'pages'), bytes)
  return folder
}

const [given, most = '512', reads = '50000'] = process.argv.slice(2)
const folder = given === undefined ? await makeFile() : undefined
const file = await open(given ?? join(folder, 'pages'))
const pages = Math.max(1, Math.ceil((await file.stat()).size / PAGE_BYTES))
const cache = new PageCache(file, Number(most))
for (let i = 0; i < Number(reads); i++) {
  // The first pages are read most, as those of an index are.
  const number = Math.floor(pages * Math.random() ** 4)
  const page = await cache.read(number)
  if (folder !== undefined && page.readUInt32LE(0) !== number) throw new Error(`page ${number} is another one`)
}
const { buffers, bytes } = cache.pool.stats()
const rate = ((cache.hits / Number(reads)) * 100).toFixed(1)
console.log(`${reads} reads of ${pages} pages, ${rate} % from the cache, by ${buffers} buffers: ${bytes} bytes`)
cache.close()
await file.close()
if (folder !== undefined) await rm(folder, { recursive: true })
