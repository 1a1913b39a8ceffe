import { buffer } from 'node:stream/consumers'
import { promisify } from 'node:util'
import zlib from 'node:zlib'
import { type ApiGroup, expect, expectBytes, type Memory, type NodeApi, SAMPLE } from './api.ts'

/** What the types of Node 20 don't know. */
const newer = zlib as typeof zlib & {
  crc32(data: Uint8Array | string, value?: number): number
  zstdCompressSync(data: Uint8Array): Buffer
  zstdDecompressSync(data: Uint8Array): Buffer
}

const CRC32_OF_TEXT = 0xcbf43926

/** Packs with the first function what is then unpacked from a buffer with the second; either is tested. */
function pair(
  packName: string,
  pack: (bytes: Uint8Array) => Buffer | Promise<Buffer>,
  unpackName: string,
  unpack: (bytes: Uint8Array) => Buffer | Promise<Buffer>,
  more: Partial<NodeApi> = {}
): NodeApi[] {
  return [
    {
      name: packName,
      ...more,
      use: async (memory) => expectBytes(await unpack(Buffer.from(await pack(memory.holding())))),
    },
    {
      name: unpackName,
      ...more,
      use: async (memory) => expectBytes(await unpack(memory.holding(await pack(Buffer.from(SAMPLE))))),
    },
  ]
}

/** What comes out of a stream that is written in two pieces. */
function through(stream: NodeJS.ReadWriteStream, bytes: Uint8Array): Promise<Buffer> {
  stream.write(bytes.subarray(0, 10))
  stream.end(bytes.subarray(10))
  return buffer(stream)
}

function withDictionary(memory: Memory): void {
  const dictionary = memory.holding(SAMPLE.subarray(0, 512))
  const packed = zlib.deflateSync(memory.holding(), { dictionary })
  expect(packed.length < zlib.deflateSync(SAMPLE).length, 'the dictionary has not been used')
  expectBytes(zlib.inflateSync(packed, { dictionary: SAMPLE.subarray(0, 512) }))
  expectBytes(zlib.inflateSync(packed, { dictionary }))
}

const zstd = { since: 22, exists: () => 'zstdCompressSync' in zlib }

export const zlibApis: ApiGroup = {
  title: 'Compression',
  apis: [
    ...pair('zlib.deflateSync', zlib.deflateSync, 'zlib.inflateSync', zlib.inflateSync),
    ...pair('zlib.gzipSync', zlib.gzipSync, 'zlib.gunzipSync', zlib.gunzipSync),
    ...pair(
      'zlib.gzip',
      promisify<Uint8Array, Buffer>(zlib.gzip),
      'zlib.gunzip',
      promisify<Uint8Array, Buffer>(zlib.gunzip)
    ),
    ...pair(
      'zlib.createGzip',
      (bytes) => through(zlib.createGzip(), bytes),
      'zlib.createGunzip',
      (bytes) => through(zlib.createGunzip(), bytes)
    ),
    ...pair('zlib.brotliCompressSync', zlib.brotliCompressSync, 'zlib.brotliDecompressSync', zlib.brotliDecompressSync),
    ...pair(
      'zlib.brotliCompress',
      promisify<Uint8Array, Buffer>(zlib.brotliCompress),
      'zlib.brotliDecompress',
      promisify<Uint8Array, Buffer>(zlib.brotliDecompress)
    ),
    ...pair('zlib.zstdCompressSync', newer.zstdCompressSync, 'zlib.zstdDecompressSync', newer.zstdDecompressSync, zstd),
    ...pair('zlib.deflateRawSync', zlib.deflateRawSync, 'zlib.inflateRawSync', zlib.inflateRawSync),
    ...pair(
      'zlib.deflate',
      promisify<Uint8Array, Buffer>(zlib.deflate),
      'zlib.unzip',
      promisify<Uint8Array, Buffer>(zlib.unzip)
    ),
    ...pair(
      'zlib.createBrotliCompress',
      (bytes) => through(zlib.createBrotliCompress(), bytes),
      'zlib.createBrotliDecompress',
      (bytes) => through(zlib.createBrotliDecompress(), bytes)
    ),
    { name: 'zlib.deflateSync, dictionary', use: withDictionary },
    {
      name: 'zlib.crc32',
      use(memory) {
        expect(newer.crc32(memory.holding('123456789')) === CRC32_OF_TEXT, 'another checksum')
        expect(newer.crc32(memory.holding()) === newer.crc32(SAMPLE), 'another checksum')
      },
    },
  ],
}
