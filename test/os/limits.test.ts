import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { totalmem } from 'node:os'
import test from 'ava'
import { cgroupMemoryLimit } from '../../lib/os/cgroup.ts'
import { addressRoom, defaultLimitBytes, machineMemory } from '../../lib/os/limits.ts'

const MIB = 2 ** 20

/** What `read` returns in a process that finds these files, and no others. */
function withFiles<T>(files: Readonly<Record<string, string>>, read: () => T): T {
  const { readFileSync } = fs
  fs.readFileSync = ((path: string) => {
    const text = files[path]
    if (text === undefined) throw new Error(`no file ${path}`)
    return text
  }) as typeof readFileSync
  syncBuiltinESMExports()
  try {
    return read()
  } finally {
    fs.readFileSync = readFileSync
    syncBuiltinESMExports()
  }
}

const LIMITED = {
  '/proc/self/mountinfo': '25 20 0:22 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n',
  '/proc/self/cgroup': '0::/pod/app\n',
  '/sys/fs/cgroup/pod/app/memory.max': '900000000\n',
  '/sys/fs/cgroup/pod/memory.max': '400000000\n',
}

test('the machine’s memory is never more than what is there, and than what its groups allow', (t) => {
  t.true(machineMemory() <= Math.min(totalmem(), cgroupMemoryLimit()))
  t.true(machineMemory() > 0)
})

test('a heap without a limit of its own has three quarters of what the tightest group allows', (t) => {
  t.is(withFiles(LIMITED, machineMemory), 400_000_000)
  t.is(withFiles(LIMITED, defaultLimitBytes), 300_000_000)
})

test('ulimit -v leaves what the process hasn’t taken', (t) => {
  const room = (limit: string) =>
    withFiles(
      {
        '/proc/self/limits': `Max cpu time  unlimited  unlimited  seconds\nMax address space         ${limit}  unlimited  bytes\n`,
        '/proc/self/status': 'VmPeak:\t 2048 kB\nVmSize:\t    1024 kB\n',
      },
      addressRoom
    )
  t.is(room(String(300 * MIB)), 299 * MIB)
  t.is(room('unlimited'), Number.POSITIVE_INFINITY)
  t.is(withFiles({}, addressRoom), Number.POSITIVE_INFINITY, 'no Linux')
})
