// Builds the addon. Where that fails (no compiler, no headers) the installation still succeeds:
// the library then works over a growable SharedArrayBuffer, and says so.
import { spawnSync } from 'node:child_process'

const build = spawnSync('node-gyp', ['rebuild'], { stdio: 'inherit', shell: true })
if (build.status !== 0) {
  console.warn(
    'spanheap: the addon was not built (is there a C++ compiler?). ' +
      'Heaps will live in a growable SharedArrayBuffer and give no memory back to the system.'
  )
}
