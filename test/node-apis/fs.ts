import fs from 'node:fs'
import { type FileHandle, open, readFile } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { type ApiGroup, expect, expectBytes, type Memory, type NodeApi, SAMPLE, withFolder } from './api.ts'

const HALF = SAMPLE.length / 2

/** An API that reads a file into a buffer: it is given one that holds the sample. */
function reads(name: string, read: (fd: number, memory: Memory) => void | Promise<void>): NodeApi {
  return {
    name,
    use: (memory) =>
      withFolder(async (file) => {
        fs.writeFileSync(file, SAMPLE)
        const fd = fs.openSync(file, 'r')
        try {
          await read(fd, memory)
        } finally {
          fs.closeSync(fd)
        }
      }),
  }
}

/** An API that writes a file: afterwards it must hold the sample. */
function writes(name: string, write: (file: string, memory: Memory) => void | Promise<void>): NodeApi {
  return {
    name,
    use: (memory) =>
      withFolder(async (file) => {
        await write(file, memory)
        expectBytes(fs.readFileSync(file))
      }),
  }
}

/** The same with a descriptor. */
function writesTo(name: string, write: (fd: number, memory: Memory) => void | Promise<void>): NodeApi {
  return writes(name, async (file, memory) => {
    const fd = fs.openSync(file, 'w')
    try {
      await write(fd, memory)
    } finally {
      fs.closeSync(fd)
    }
  })
}

/** The same with a FileHandle. */
function writesByHandle(name: string, write: (handle: FileHandle, memory: Memory) => Promise<unknown>): NodeApi {
  return writes(name, async (file, memory) => {
    const handle = await open(file, 'w')
    try {
      await write(handle, memory)
    } finally {
      await handle.close()
    }
  })
}

function readsByHandle(name: string, read: (handle: FileHandle, memory: Memory) => Promise<void>): NodeApi {
  return {
    name,
    use: (memory) =>
      withFolder(async (file) => {
        fs.writeFileSync(file, SAMPLE)
        const handle = await open(file, 'r')
        try {
          await read(handle, memory)
        } finally {
          await handle.close()
        }
      }),
  }
}

const halves = (memory: Memory) => [memory.holding(SAMPLE.subarray(0, HALF)), memory.holding(SAMPLE.subarray(HALF))]

function expectHalves([first, second]: Buffer[]): void {
  expectBytes(first!, SAMPLE.subarray(0, HALF))
  expectBytes(second!, SAMPLE.subarray(HALF))
}

export const fsApis: ApiGroup = {
  title: 'Files',
  apis: [
    reads('fs.readSync', (fd, memory) => {
      const room = memory.room()
      expect(fs.readSync(fd, room, HALF, HALF, HALF) === HALF, 'bytes are missing')
      expect(fs.readSync(fd, room, 0, HALF, 0) === HALF, 'bytes are missing')
      expectBytes(room)
    }),
    reads('fs.read', async (fd, memory) => {
      const room = memory.room()
      const { bytesRead } = await promisify(fs.read)(fd, room, 0, room.length, 0)
      expect(bytesRead === room.length, 'bytes are missing')
      expectBytes(room)
    }),
    reads('fs.readvSync', (fd, memory) => {
      const rooms = [memory.room(HALF), memory.room(HALF)]
      expect(fs.readvSync(fd, rooms, 0) === SAMPLE.length, 'bytes are missing')
      expectHalves(rooms)
    }),
    reads('fs.readv', async (fd, memory) => {
      const rooms = [memory.room(HALF), memory.room(HALF)]
      await promisify<number, Buffer[], number, unknown>(fs.readv)(fd, rooms, 0)
      expectHalves(rooms)
    }),
    readsByHandle('FileHandle.read', async (handle, memory) => {
      const room = memory.room()
      const { bytesRead } = await handle.read(room, 0, room.length, 0)
      expect(bytesRead === room.length, 'bytes are missing')
      expectBytes(room)
    }),
    readsByHandle('FileHandle.readv', async (handle, memory) => {
      const rooms = [memory.room(HALF), memory.room(HALF)]
      await handle.readv(rooms, 0)
      expectHalves(rooms)
    }),
    writesTo('fs.writeSync', (fd, memory) => {
      const bytes = memory.holding()
      expect(fs.writeSync(fd, bytes, 0, bytes.length) === bytes.length, 'bytes are missing')
    }),
    writesTo('fs.write', async (fd, memory) => {
      const bytes = memory.holding()
      await promisify(fs.write)(fd, bytes, 0, HALF, 0)
      await promisify(fs.write)(fd, bytes, HALF, HALF, HALF)
    }),
    writesTo('fs.writevSync', (fd, memory) => {
      expect(fs.writevSync(fd, halves(memory)) === SAMPLE.length, 'bytes are missing')
    }),
    writesTo('fs.writev', async (fd, memory) => {
      await promisify<number, Buffer[], number, unknown>(fs.writev)(fd, halves(memory), 0)
    }),
    writesByHandle('FileHandle.write', (handle, memory) => handle.write(memory.holding(), 0, SAMPLE.length, 0)),
    writesByHandle('FileHandle.writev', (handle, memory) => handle.writev(halves(memory), 0)),
    writesByHandle('FileHandle.writeFile', (handle, memory) => handle.writeFile(memory.holding())),
    writesByHandle('FileHandle.appendFile', async (handle, memory) => {
      for (const half of halves(memory)) await handle.appendFile(half)
    }),
    writes('fs.writeFileSync', (file, memory) => fs.writeFileSync(file, memory.holding())),
    writes('fs.writeFile', (file, memory) => promisify(fs.writeFile)(file, memory.holding())),
    writes('fs.promises.writeFile', (file, memory) => fs.promises.writeFile(file, memory.holding())),
    writes('fs.promises.writeFile, an iterable of buffers', (file, memory) =>
      fs.promises.writeFile(file, Readable.from(halves(memory)))
    ),
    writes('fs.appendFileSync', (file, memory) => {
      for (const half of halves(memory)) fs.appendFileSync(file, half)
    }),
    writes('fs.promises.appendFile', async (file, memory) => {
      for (const half of halves(memory)) await fs.promises.appendFile(file, half)
    }),
    writes('fs.createWriteStream', async (file, memory) => {
      const stream = fs.createWriteStream(file)
      const [first, second] = halves(memory)
      // The second write waits for the first one's open: both then go out by writev.
      stream.write(first)
      stream.end(second)
      await new Promise<void>((resolve, reject) => stream.once('close', resolve).once('error', reject))
    }),
    writes('fs.createReadStream piped through buffers', async (file, memory) => {
      fs.writeFileSync(`${file}.from`, SAMPLE)
      await pipeline(
        fs.createReadStream(`${file}.from`, { highWaterMark: 100 }),
        async function* (chunks: AsyncIterable<Buffer>) {
          for await (const chunk of chunks) yield memory.holding(chunk)
        },
        fs.createWriteStream(file)
      )
    }),
    {
      name: 'fs.promises.readFile, a path in a buffer',
      use: (memory) =>
        withFolder(async (file) => {
          fs.writeFileSync(file, SAMPLE)
          expectBytes(await readFile(memory.holding(file)))
        }),
    },
    {
      name: 'fs.readFileSync, a path in a buffer',
      use: (memory) =>
        withFolder((file) => {
          fs.writeFileSync(file, SAMPLE)
          expectBytes(fs.readFileSync(memory.holding(file)))
        }),
    },
    writesByHandle('FileHandle.createWriteStream', async (handle, memory) => {
      const stream = handle.createWriteStream()
      for (const half of halves(memory)) stream.write(half)
      await new Promise<void>((resolve, reject) => stream.once('error', reject).end(resolve))
    }),
    writesByHandle('FileHandle.write, a part', async (handle, memory) => {
      const bytes = memory.holding()
      await handle.write(bytes, HALF, HALF, HALF)
      await handle.write(bytes.subarray(0, HALF), 0, HALF, 0)
    }),
  ],
}
