import { existsSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath, URL } from 'node:url'

/** The tools on this machine that compile the addon from source. */
export interface BuildTools {
  /** The missing tools, in words. */
  missing: string[]
  /** The script of node-gyp. */
  nodeGyp: string | undefined
}

/** Looks for the tools that compiling takes. It only reads folders and runs nothing. */
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
 * How to build the addon: the tools to install first, then one command. It names the script by its path, which works with every package
 * manager.
 */
export function howToBuild(): string {
  const path = buildScript()
  if (path === undefined) return 'mark spanheap as external in the options of your bundler'
  // Under Yarn's Plug'n'Play, Node finds a package's dependencies only if started by Yarn's command.
  const node = process.versions.pnp === undefined ? 'node' : 'yarn node'
  const script = /\s/.test(path) ? `"${path}"` : path
  const { missing } = findBuildTools()
  return `${missing.length > 0 ? `install ${inWords(missing)}, then ` : ''}run \`${node} ${script}\``
}

/** "a, b and c" */
export function inWords(things: readonly string[]): string {
  return things.length < 2 ? things.join() : `${things.slice(0, -1).join(', ')} and ${things.at(-1)}`
}

/**
 * The package's script that compiles the addon. A bundled copy of the library has no such script; as CommonJS it has no path of its own
 * either.
 */
function buildScript(): string | undefined {
  try {
    const path = fileURLToPath(new URL('../../../scripts/build-addon.mjs', import.meta.url))
    return existsSync(path) ? path : undefined
  } catch {
    return undefined
  }
}

/** node-gyp: the project's own, else the one in PATH, else the one inside npm, which need not be in PATH itself. */
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
  // npm's own script folder has a shell script of that name. Any other entry is a link to the script itself.
  return program && realpathSync(program).endsWith('.js') ? realpathSync(program) : undefined
}

/** The path of a program in one of the folders of PATH. */
export function programNamed(name: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  const folders = env.PATH?.split(delimiter) ?? []
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
}
