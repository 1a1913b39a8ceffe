import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { cgroupMemoryLimit } from '../../lib/os/cgroup.ts'

const MIB = 2 ** 20

/** A folder with these files, that stands for the root of a file system. */
function rootWith(t: ExecutionContext, files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'spanheap-cgroup-'))
  t.teardown(() => rmSync(root, { recursive: true }))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return root
}

const UNIFIED = '25 20 0:22 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n'
const MEMORY = '31 30 0:28 / /sys/fs/cgroup/memory rw,relatime shared:13 - cgroup cgroup rw,memory\n'
const CPU = '32 30 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n'

const systems: Record<string, { files: Record<string, string>; limit: number }> = {
  'version 2, a limit of its own': {
    files: {
      'proc/self/mountinfo': UNIFIED,
      'proc/self/cgroup': '0::/user.slice/app.service\n',
      'sys/fs/cgroup/user.slice/app.service/memory.max': `${300 * MIB}\n`,
      'sys/fs/cgroup/user.slice/memory.max': 'max\n',
    },
    limit: 300 * MIB,
  },
  'version 2, a tighter limit two groups above': {
    files: {
      'proc/self/mountinfo': UNIFIED,
      'proc/self/cgroup': '0::/pod/container/app\n',
      'sys/fs/cgroup/pod/container/app/memory.max': 'max\n',
      'sys/fs/cgroup/pod/container/memory.max': `${900 * MIB}\n`,
      'sys/fs/cgroup/pod/memory.max': `${400 * MIB}\n`,
    },
    limit: 400 * MIB,
  },
  'version 2, the root of a namespace': {
    files: {
      'proc/self/mountinfo': UNIFIED,
      'proc/self/cgroup': '0::/\n',
      'sys/fs/cgroup/memory.max': `${512 * MIB}\n`,
    },
    limit: 512 * MIB,
  },
  'version 1, a parent of the group': {
    files: {
      'proc/self/mountinfo': CPU + MEMORY,
      'proc/self/cgroup': '9:cpu,cpuacct:/x\n4:memory:/parent/child\n0::/\n',
      'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
      'sys/fs/cgroup/memory/parent/memory.limit_in_bytes': `${200 * MIB}\n`,
      'sys/fs/cgroup/memory/parent/child/memory.limit_in_bytes': '9223372036854771712\n',
      'sys/fs/cgroup/cpu/x/memory.limit_in_bytes': '1\n',
    },
    limit: 200 * MIB,
  },
  'version 1, a container that sees its own tree and the machine’s paths': {
    files: {
      'proc/self/mountinfo': MEMORY.replace(' / /sys', ' /docker/c0ffee /sys'),
      'proc/self/cgroup': '4:memory:/docker/c0ffee/inner\n',
      'sys/fs/cgroup/memory/memory.limit_in_bytes': `${700 * MIB}\n`,
      'sys/fs/cgroup/memory/inner/memory.limit_in_bytes': `${600 * MIB}\n`,
    },
    limit: 600 * MIB,
  },
  'version 1, a group that is elsewhere than what is mounted': {
    files: {
      'proc/self/mountinfo': MEMORY.replace(' / /sys', ' /docker/c0ffee /sys'),
      'proc/self/cgroup': '4:memory:/other\n',
      'sys/fs/cgroup/memory/memory.limit_in_bytes': `${700 * MIB}\n`,
    },
    limit: 700 * MIB,
  },
  'both versions: memory is version 1’s': {
    files: {
      'proc/self/mountinfo': MEMORY + UNIFIED.replace('/sys/fs/cgroup', '/sys/fs/cgroup/unified'),
      'proc/self/cgroup': '4:memory:/a:b\n0::/elsewhere\n',
      'sys/fs/cgroup/memory/a:b/memory.limit_in_bytes': `${100 * MIB}\n`,
    },
    limit: 100 * MIB,
  },
  'a mount point with a space in it': {
    files: {
      'proc/self/mountinfo': UNIFIED.replace('/sys/fs/cgroup', '/my\\040groups'),
      'proc/self/cgroup': '0::/app\n',
      'my groups/app/memory.max': `${50 * MIB}\n`,
    },
    limit: 50 * MIB,
  },
  'no limit': {
    files: {
      'proc/self/mountinfo': UNIFIED,
      'proc/self/cgroup': '0::/app\n',
      'sys/fs/cgroup/app/memory.max': 'max\n',
    },
    limit: Number.POSITIVE_INFINITY,
  },
  'no Linux': { files: {}, limit: Number.POSITIVE_INFINITY },
}

for (const [name, { files, limit }] of Object.entries(systems)) {
  test(`the tightest limit of all groups: ${name}`, (t) => {
    t.is(cgroupMemoryLimit(rootWith(t, files)), limit)
  })
}
