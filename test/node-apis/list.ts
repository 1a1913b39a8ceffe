import type { ApiGroup } from './api.ts'
import { bufferApis } from './buffer.ts'
import { cryptoApis, webcryptoApis } from './crypto.ts'
import { engineApis } from './engine.ts'
import { fsApis } from './fs.ts'
import { moveApis } from './moves.ts'
import { netApis } from './net.ts'
import { utilApis } from './util.ts'
import { webApis } from './web.ts'
import { zlibApis } from './zlib.ts'

/** All APIs that are tried, and that docs/node-apis.md shows. */
export const GROUPS: readonly ApiGroup[] = [
  fsApis,
  netApis,
  zlibApis,
  cryptoApis,
  webcryptoApis,
  webApis,
  bufferApis,
  utilApis,
  engineApis,
  moveApis,
]
