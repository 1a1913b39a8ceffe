import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import { AllocatorError } from '../errors.ts'
import type { SystemCall } from './mapper.ts'

declare const opaque: unique symbol
/** A ledger of the shim. */
export type LedgerHandle = { [opaque]: 'ledger' }
/** A mapping of the shim. */
export type MappingHandle = { [opaque]: 'mapping' }

/** The shim's exports (native/addon.cc, native/direct.cc). Calls that return a number return an errno unless said otherwise. */
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
    shared: boolean,
    hugePages: boolean
  ): { handle: MappingHandle; buffer: SharedArrayBuffer | ArrayBuffer; unshared: ArrayBuffer; address: number } | number
  /**
   * What is known of the mapping under a SharedArrayBuffer that another thread has sent; undefined for any other. `heap` is the same
   * number for all mappings of one ledger.
   */
  adopt(
    buffer: SharedArrayBuffer
  ): { handle: MappingHandle; unshared: ArrayBuffer; address: number; ledger: LedgerHandle; heap: number } | undefined
  grow(mapping: MappingHandle, offset: number, length: number): number
  release(mapping: MappingHandle, offset: number, length: number): number
  /** At `offset` is the word that counts deaths; the slots' words follow. The index of the slot claimed, or -1. */
  claimSlot(mapping: MappingHandle, offset: number, count: number): number
  releaseSlot(mapping: MappingHandle, offset: number, index: number): boolean
  detach(buffer: ArrayBuffer): void
  keepMappingsAtExit(): void
  /** The address, or minus errno. */
  map(ledger: LedgerHandle, length: number): number
  unmap(ledger: LedgerHandle, address: number, length: number): number
  bufferOver(address: number, length: number): ArrayBuffer
  copy(to: number, from: number, length: number): void
  touch(address: number, length: number, stride: number): void
}

/** Why there is no addon; the heap then works without it. */
export interface NoAddon {
  readonly reason: string
}

let loaded: Addon | NoAddon | undefined

/**
 * The shim, or why it can't be had: not built, addons disabled, or an engine that takes no outside memory.
 * @throws AllocatorError `ERR_HEAP_UNSUPPORTED` where it was built for another version of Node
 */
export function loadAddon(): Addon | NoAddon {
  loaded ??= load()
  return loaded
}

function load(): Addon | NoAddon {
  let addon: Addon
  try {
    const require = createRequire(import.meta.url)
    const bindings: typeof import('bindings') = require('bindings')
    addon = bindings({ bindings: 'spanheap', module_root: fileURLToPath(new URL('../../../', import.meta.url)) })
  } catch (error) {
    return { reason: error instanceof Error ? error.message.split('\n')[0]! : String(error) }
  }
  const running = Number(process.versions.modules)
  if (addon.builtForModules !== running) {
    throw new AllocatorError(
      'ERR_HEAP_UNSUPPORTED',
      `the addon was built for another Node (ABI ${addon.builtForModules}, this is ${running}): run npm rebuild spanheap`
    )
  }
  if (!addon.externalMemoryAllowed) return { reason: 'this engine takes no memory from outside' }
  if (isMainThread) addon.keepMappingsAtExit()
  return addon
}

/** Tells a loaded addon from the lack of one. */
export function isAddon(addon: Addon | NoAddon): addon is Addon {
  return 'openLedger' in addon
}
