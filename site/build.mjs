// Builds the site: node site/build.mjs [--serve]. Its packages are those of site/package.json; typedoc is the project's own.
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { build, serve } from 'vitepress'
import { faults } from './check.mjs'
import { ROOT, stage } from './pages.mjs'

const SITE = join(ROOT, 'site')

rmSync(join(SITE, 'pages'), { recursive: true, force: true })
rmSync(join(SITE, 'dist'), { recursive: true, force: true })
stage(join(SITE, 'pages'))
execFileSync(process.execPath, ['node_modules/typedoc/bin/typedoc', '--options', 'site/typedoc.json'], {
  cwd: ROOT,
  stdio: 'inherit',
})
await build(SITE)
const found = faults(join(SITE, 'dist'))
for (const fault of found) console.error(fault)
if (found.length > 0) process.exit(1)
if (process.argv.includes('--serve')) await serve({ root: SITE })
