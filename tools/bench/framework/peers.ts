import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { PACKAGE_ROOT } from '../../package-root.ts'
import { shippedTrace } from '../../trace/shipped.ts'

/** A native allocator: what to preload, or nothing for the C library's own. */
export interface Peer {
  name: string
  library: string | undefined
}

export const TRACES = ['jq', 'sqlite', 'perl', 'node', 'redis', 'gcc']

/** The native allocators that are looked for. */
export const LIBRARIES = [
  { name: 'gperftools', soname: 'libtcmalloc_minimal.so.4' },
  { name: 'jemalloc', soname: 'libjemalloc.so.2' },
  { name: 'mimalloc', soname: 'libmimalloc.so.2' },
]

/** The allocators that this machine has. Debian: libtcmalloc-minimal4, libjemalloc2, libmimalloc2.0. */
export function findPeers(): Peer[] {
  const cache = execFileSync('/sbin/ldconfig', ['-p'], { encoding: 'utf8' })
  const peers: Peer[] = [{ name: 'glibc', library: undefined }]
  for (const { name, soname } of LIBRARIES) {
    const found = cache.match(new RegExp(`^\\s*${soname.replaceAll('.', '\\.')} .*=> (.*)$`, 'm'))
    if (found === null) console.warn(`${name} isn't installed (${soname}): it is left out`)
    else peers.push({ name, library: found[1]! })
  }
  return peers
}

/** The environment in which a program's malloc is that of the peer. */
export function environmentOf({ library }: Peer): NodeJS.ProcessEnv {
  return library === undefined ? process.env : { ...process.env, LD_PRELOAD: library }
}

/** The yardstick, built from a source in bench/native, and traces unpacked for it; gone when the process ends. */
export class Yardstick {
  private readonly folder = mkdtempSync(join(tmpdir(), 'spanheap-bench-'))
  private readonly program = join(this.folder, 'yardstick')

  constructor(source = 'replay.c') {
    process.once('exit', () => rmSync(this.folder, { recursive: true, force: true }))
    execFileSync('cc', ['-O2', '-pthread', '-o', this.program, join(PACKAGE_ROOT, 'bench/native', source)], {
      stdio: 'inherit',
    })
  }

  /** Runs the yardstick on a peer's malloc; its figures. */
  run(peer: Peer, ...args: string[]): Figures {
    return JSON.parse(execFileSync(this.program, args, { env: environmentOf(peer), encoding: 'utf8' })) as Figures
  }

  unpack(trace: string): string {
    const path = join(this.folder, trace)
    writeFileSync(path, gunzipSync(readFileSync(shippedTrace(trace))))
    return path
  }
}

/** What one run measured. */
export interface Figures {
  nsPerEvent: number
  coldNsPerEvent?: number
  peakResidentBytes?: number | null
}

/** Runs a compiled file of this package in a process of its own; the figures that it prints. */
export function runOurs<T = Figures>(script: string | URL, ...args: string[]): T {
  return JSON.parse(execFileSync(process.execPath, [fileURLToPath(script), ...args], { encoding: 'utf8' })) as T
}

/** The best of two runs, figure by figure; of resident bytes the highest, since fewer samples may have missed the peak. */
export function better(a: Figures | undefined, b: Figures): Figures {
  if (a === undefined) return b
  return {
    nsPerEvent: Math.min(a.nsPerEvent, b.nsPerEvent),
    coldNsPerEvent: Math.min(
      a.coldNsPerEvent ?? Number.POSITIVE_INFINITY,
      b.coldNsPerEvent ?? Number.POSITIVE_INFINITY
    ),
    peakResidentBytes: Math.max(a.peakResidentBytes ?? 0, b.peakResidentBytes ?? 0),
  }
}
