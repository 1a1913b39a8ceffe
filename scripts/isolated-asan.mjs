// The soak of isolated buffers under AddressSanitizer (Linux, gcc). The shim is built with it beside the project, and then poisons a block when
// V8 has let go of it, until it is somebody's again: a write that Node still has under way there, or any other native code, is reported. First the
// same with a fault on purpose, which must be found.
//
//     node scripts/isolated-asan.mjs [options of isolated-soak.mjs]
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const FLAGS = '-fsanitize=address -fno-omit-frame-pointer'

const copy = mkdtempSync(join(tmpdir(), 'spanheap-asan-'))
try {
  for (const name of ['native', 'dist', 'scripts', 'binding.gyp', 'package.json'])
    cpSync(join(ROOT, name), join(copy, name), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
  execFileSync('npx', ['node-gyp', 'rebuild', '--silent'], {
    cwd: copy,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, CXXFLAGS: FLAGS, LDFLAGS: FLAGS },
  })
  const library = execFileSync('gcc', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim()
  const soak = (...options) =>
    spawnSync(process.execPath, ['--expose-gc', join(copy, 'scripts', 'isolated-soak.mjs'), ...options], {
      encoding: 'utf8',
      env: { ...process.env, LD_PRELOAD: library, ASAN_OPTIONS: 'detect_leaks=0' },
    })
  const stray = soak('--buffers', '20000', '--stray')
  if (!stray.stderr.includes('use-after-poison')) throw new Error(`a stray write wasn’t found: ${stray.stderr}`)
  console.log(`found: ${stray.stderr.match(/^SUMMARY: .*$/m)?.[0]}`)
  const { status, stdout, stderr } = soak(...process.argv.slice(2))
  console.log(stdout + stderr)
  process.exitCode = status ?? 1
} finally {
  rmSync(copy, { recursive: true, force: true })
}
