import { existsSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath, URL } from 'node:url'

/** What compiles the addon from its sources, of what this machine has. */
export interface BuildTools {
  /** What isn't there, in words. */
  missing: string[]
  /** The script of node-gyp. */
  nodeGyp: string | undefined
}

/** Looks for what compiling takes. It reads folders only, and runs nothing. */
export function findBuildTools(env: NodeJS.ProcessEnv = process.env): BuildTools {
  const has = (...names: string[]) => names.some((name) => programNamed(name, env) !== undefined)
  const missing: string[] = []
  if (!env.CXX && !has('g++', 'c++', 'clang++')) missing.push('a C++ compiler')
  if (!has('make', 'gmake')) missing.push('make')
  if (!env.PYTHON && !env.npm_config_python && !has('python3', 'python')) missing.push('Python 3')
  const nodeGyp = findNodeGyp(env)
  if (nodeGyp === undefined) missing.push('node-gyp, which npm has in it')
  return { missing, nodeGyp }
}

/**
 * The one command that builds the addon, after what has to be installed for it. It names the script by its path: that is right
 * with every package manager.
 */
export function howToBuild(): string {
  const path = buildScript()
  if (path === undefined) return 'mark spanheap as external in the options of your bundler'
  // Yarn's Plug'n'Play: only by its own command does Node find a package's dependencies.
  const node = process.versions.pnp === undefined ? 'node' : 'yarn node'
  const script = /\s/.test(path) ? `"${path}"` : path
  const { missing } = findBuildTools()
  return `${missing.length > 0 ? `install ${inWords(missing)}, then ` : ''}run \`${node} ${script}\``
}

/** "a, b and c" */
export function inWords(things: readonly string[]): string {
  return things.length < 2 ? things.join() : `${things.slice(0, -1).join(', ')} and ${things.at(-1)}`
}

/** The package's script that compiles the addon. A bundled copy of the library doesn't have it, nor, as CommonJS, a place of its own. */
function buildScript(): string | undefined {
  try {
    const path = fileURLToPath(new URL('../../../scripts/build-addon.mjs', import.meta.url))
    return existsSync(path) ? path : undefined
  } catch {
    return undefined
  }
}

/** The project's own, the one in PATH, or the one inside npm, which need not be in PATH itself. */
function findNodeGyp(env: NodeJS.ProcessEnv): string | undefined {
  const npm = programNamed('npm', env)
  const homes = [
    buildScript(),
    npm && realpathSync(npm),
    join(dirname(process.execPath), '../lib/node_modules/npm/package.json'),
  ]
  for (const home of homes) {
    try {
      if (home) return createRequire(home).resolve('node-gyp/bin/node-gyp.js')
    } catch {
      // Not in this one.
    }
  }
  const program = programNamed('node-gyp', env)
  // npm's own folder for scripts has a shell script of that name; behind any other is the script itself.
  return program && realpathSync(program).endsWith('.js') ? realpathSync(program) : undefined
}

function programNamed(name: string, env: NodeJS.ProcessEnv): string | undefined {
  const folders = env.PATH?.split(delimiter) ?? []
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
}
