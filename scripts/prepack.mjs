// Makes what `npm pack` and `npm publish` take: the library, compiled anew, so that nothing is left of sources that are gone, and the
// prebuilt addons of this platform for all versions of Node. In a clone that has nothing installed yet, it installs first.
import { spawnSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { PROJECT, RELEASES } from './node-releases.mjs'

function run(command) {
  // To the error output: npm's own output is the name of the file, or JSON. The options are those of the outer npm, for this one to forget.
  const env = { ...process.env, npm_config_dry_run: 'false', npm_config_json: 'false' }
  const { status } = spawnSync(command, { cwd: PROJECT, stdio: ['ignore', 2, 2], shell: true, env })
  if (status !== 0) throw new Error(`\`${command}\` failed`)
}

if (!existsSync(join(PROJECT, 'node_modules/typescript'))) run('npm ci --ignore-scripts')
rmSync(join(PROJECT, 'dist'), { recursive: true, force: true })
run('npm run compile')

// They are compiled only now.
const { prebuild, stalePrebuilds } = await import('./prebuild.mjs')
for (const major of Object.keys(RELEASES)) console.error(`packing ${relative(PROJECT, prebuild(major))}`)
const stale = stalePrebuilds().map((path) => relative(PROJECT, path))
if (stale.length > 0) throw new Error(`built from other sources than these, build anew or delete: ${stale.join(', ')}`)
