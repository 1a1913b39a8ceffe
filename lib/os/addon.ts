import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath, URL } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import { AllocatorError } from '../base/errors.ts'
import { howToBuild } from './build-tools.ts'
import type { SystemCall } from './mapper.ts'
import { prebuiltPath } from './prebuilt.ts'

declare const opaque: unique symbol
/** A ledger of the shim. */
export type LedgerHandle = { [opaque]: 'ledger' }
/** A mapping of the shim. */
export type MappingHandle = { [opaque]: 'mapping' }

/** The shim's exports (native/addon.cc, native/direct.cc, native/isolated.cc). Calls that return a number return an errno unless said otherwise. */
export interface Addon {
  readonly builtForModules: number
  readonly externalMemoryAllowed: boolean
  readonly pageSize: number
  openLedger(): LedgerHandle
  ledgerCounts(ledger: LedgerHandle): [mmap: number, munmap: number, madvise: number, failed: number]
  keepRing(ledger: LedgerHandle, capacity: number): void
  ledgerRing(ledger: LedgerHandle): SystemCall[]
  writeLedgerTo(ledger: LedgerHandle, path: string): number
  flushLedgerFile(ledger: LedgerHandle): void
  reserve(
    ledger: LedgerHandle,
    length: number,
    alignment: number,
    hugePages: boolean,
    sharedLength: number,
    isTight: boolean
  ): { handle: MappingHandle; buffer: SharedArrayBuffer; address: number } | number
  /**
   * The mapping under a SharedArrayBuffer that another thread has sent; undefined if it isn't a mapping's. `heap` is the same number for
   * all mappings of one ledger.
   */
  adopt(
    buffer: SharedArrayBuffer
  ): { handle: MappingHandle; address: number; length: number; ledger: LedgerHandle; heap: number } | undefined
  /** A new ArrayBuffer over a mapping's memory, or over a part of it. */
  unshared(mapping: MappingHandle, offset?: number, length?: number): ArrayBuffer
  /** Keeps V8 from detaching an ArrayBuffer, on Node 20 and 22. */
  forbidDetach(buffer: ArrayBuffer): void
  grow(mapping: MappingHandle, offset: number, length: number): number
  release(mapping: MappingHandle, offset: number, length: number): number
  /** Claims `bytes` of a shared budget of `most` for a mapping; false if it is refused. */
  claim(mapping: MappingHandle, bytes: number, most: number): boolean
  /** At `offset` is the word that counts deaths; the slots' words follow. The index of the slot claimed, or -1. */
  claimSlot(mapping: MappingHandle, offset: number, count: number, isSpare: boolean): number
  freeSlot(mapping: MappingHandle, offset: number, index: number): boolean
  endSlot(mapping: MappingHandle, offset: number, index: number): boolean
  keepMappingsAtExit(): void
  /** An ArrayBuffer of just the bytes at an offset. `tables` has the block's state, and the word that says whether blocks wait to be taken. */
  isolate(
    memory: MappingHandle,
    offset: number,
    length: number,
    tables: MappingHandle,
    state: number,
    flag: number
  ): ArrayBuffer
  /** The offset in a mapping of an ArrayBuffer's bytes; -1 if they are elsewhere, -2 if it was detached. */
  offsetIn(memory: MappingHandle, buffer: ArrayBufferLike): number
  /** The granule of an isolated block that V8 has let go of, or 0. The same native call writes it to the word at `note`. */
  takeCollected(memory: MappingHandle, tables: MappingHandle, note: number): number
  /** Gives back all pages of a range except those of isolated blocks that V8 still holds. No blocks can be taken any more. */
  releaseRest(memory: MappingHandle, offset: number, length: number): number
  /** Makes all views of a buffer have length 0. False if it can't be detached. */
  detach(buffer: ArrayBuffer): boolean
  /** The address, or minus errno. */
  map(ledger: LedgerHandle, length: number): number
  /** If ArrayBuffers are over the mapping, its pages go back now and its addresses once V8 has let go of the last. */
  unmap(ledger: LedgerHandle, address: number, length: number): number
  /** Bytes mapped by `map`, including freed blocks that wait for V8. */
  directBytes(ledger: LedgerHandle): number
  bufferOver(address: number, length: number): ArrayBuffer
  copy(to: number, from: number, length: number): void
  touch(address: number, length: number, stride: number): void
}

/** Why there is no addon. The heap works without it. */
export interface NoAddon {
  readonly reason: string
  /** What to do about it. */
  readonly remedy: string
}

let loaded: Addon | NoAddon | undefined

/**
 * The shim, or why it can't be had: not built, addons disabled, or an engine that accepts no external memory.
 * @throws AllocatorError `ERR_HEAP_UNSUPPORTED` if it was built for another version of Node
 */
export function loadAddon(): Addon | NoAddon {
  loaded ??= load()
  return loaded
}

function load(): Addon | NoAddon {
  let addon: Addon
  try {
    addon = openAddon()
  } catch (error) {
    return whyNot(error as NodeJS.ErrnoException)
  }
  if (!isForThisNode(addon)) {
    throw new AllocatorError(
      'ERR_HEAP_UNSUPPORTED',
      `the addon was built for another Node (ABI ${addon.builtForModules}, this is ${process.versions.modules}): ${howToBuild()}`
    )
  }
  if (!addon.externalMemoryAllowed) {
    return { reason: 'this engine takes no memory from outside', remedy: 'use Node itself' }
  }
  if (isMainThread) addon.keepMappingsAtExit()
  return addon
}

/** The addon that was built on this machine, since someone asked for that; otherwise the prebuilt one. */
function openAddon(): Addon {
  const require = createRequire(import.meta.url)
  const root = fileURLToPath(new URL('../../../', import.meta.url))
  const prebuilt = prebuiltPath()
  const openBuilt = () =>
    (require('bindings') as typeof import('bindings'))({ bindings: 'spanheap', module_root: root })
  const ways: (() => Addon)[] = []
  if (existsSync(`${root}build`)) ways.push(openBuilt)
  if (existsSync(prebuilt)) ways.push(() => require(prebuilt))
  // `bindings` searches more places, but takes a while.
  if (ways.length === 0) ways.push(openBuilt)
  let stranger: Addon | undefined
  let refusal: unknown
  for (const open of ways) {
    try {
      const addon = open()
      if (isForThisNode(addon)) return addon
      stranger ??= addon
    } catch (error) {
      // The system's C library may be older than the one that the addon was built with.
      refusal = error
    }
  }
  if (stranger !== undefined) return stranger
  throw refusal
}

function isForThisNode({ builtForModules }: Addon): boolean {
  return builtForModules === Number(process.versions.modules)
}

function whyNot({ code, message }: NodeJS.ErrnoException): NoAddon {
  if (code === 'ERR_DLOPEN_DISABLED') {
    const confined = 'permission' in process
    return confined
      ? { reason: 'Node’s permission model forbids addons', remedy: 'start Node with --allow-addons' }
      : { reason: 'addons are disabled', remedy: 'start Node without --no-addons' }
  }
  // Bun and Deno have Node-API and claim an ABI of Node's, but lack the V8 functions that the shim needs.
  if (process.versions.bun ?? process.versions.deno) return { reason: 'this is not Node', remedy: 'use Node itself' }
  // `bindings` lists every path that it tried, and a bundled file has no path of its own.
  const nowhere =
    message.startsWith('Could not locate') || code === 'ERR_INVALID_ARG_VALUE' || code === 'MODULE_NOT_FOUND'
  const { platform, arch, version, versions } = process
  const none = `none is prebuilt for ${platform}-${arch} and Node ${version} (ABI ${versions.modules}), and none was built`
  return { reason: nowhere ? none : message.split('\n', 1)[0]!, remedy: howToBuild() }
}

/** Whether an addon was loaded. */
export function isAddon(addon: Addon | NoAddon): addon is Addon {
  return 'openLedger' in addon
}
