// Installs the package as it is packed, by each package manager, and sees whether the heap is native: in a path with spaces, with and
// without --ignore-scripts, and then with all of node_modules read-only, used by another user than the one that installed it (if this is
// root, for whom nothing is read-only). Where scripts are off, also without the prebuilt addons, built by the command that the warning names.
// Several minutes; the tests have the quick part of it.
//
//     node scripts/installs.mjs [TARBALL]
//
// Without a tarball it packs one. It prints a table, and ends with status 1 if any row isn't native.
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { nodeFolderOf, PROJECT, RELEASES } from './node-releases.mjs'

const NOBODY = 65_534
/** npm 10.8.2 is Node 20.19's own; the newest of each needs a newer Node. */
const MANAGERS = [
  { name: 'npm', version: '10.8.2', major: 20, script: 'bin/npm-cli.js' },
  { name: 'npm', version: '11.19.1', major: 22, script: 'bin/npm-cli.js' },
  { name: 'npm', version: '12.2.2', major: 26, script: 'bin/npm-cli.js' },
  { name: 'pnpm', version: '10.34.8', major: 20, script: 'bin/pnpm.cjs' },
  { name: 'pnpm', version: '11.28.10', major: 24, script: 'bin/pnpm.mjs' },
  // From version 12 on it is a program of its own.
  { name: '@pnpm/exe.linux-x64', version: '12.21.0', major: 26, program: 'pnpm' },
  { name: '@yarnpkg/cli-dist', version: '4.18.1', major: 24, script: 'bin/yarn.js', linker: 'pnp' },
  { name: '@yarnpkg/cli-dist', version: '4.18.1', major: 24, script: 'bin/yarn.js', linker: 'node-modules' },
]
const USE = `
  import { Heap } from 'spanheap'
  const heap = new Heap()
  heap.free(heap.malloc(100))
  console.log(heap.stats().system)`

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'spanheap installs-')))
chmodSync(folder, 0o755)

/** The folder of a package manager, from npm. */
function managerFolder({ name, version }) {
  const home = join(folder, `${name.replace('/', '-')} ${version}`)
  if (existsSync(home)) return home
  const unpacked = mkdtempSync(join(folder, 'unpacked-'))
  execFileSync('tar', ['-xzf', pack([`${name}@${version}`], unpacked), '-C', unpacked])
  renameSync(join(unpacked, 'package'), home)
  return home
}

/** Everything in it, links too: their targets are in the folder as well. */
function makeReadOnly(project) {
  execFileSync('chmod', ['-R', 'a-w,a+rX', project])
}

function tryInstall(manager, tarball, ignoreScripts) {
  const { name, version, major, script, program, linker } = manager
  const project = join(
    folder,
    [name.replace('/', '-'), version, linker, ignoreScripts ? 'no scripts' : 'plain'].join(' ')
  )
  mkdirSync(project)
  const manifest = { private: true, type: 'module', dependencies: { spanheap: `file:${tarball}` } }
  writeFileSync(join(project, 'package.json'), JSON.stringify(manifest))
  writeFileSync(join(project, 'main.js'), USE)
  const node = join(nodeFolderOf(RELEASES[major]), 'bin/node')
  const home = managerFolder(manager)
  const [command, ...first] = program ? [join(home, program)] : [node, join(home, script)]
  const env = {
    ...process.env,
    PATH: join(nodeFolderOf(RELEASES[major]), 'bin') + delimiter + process.env.PATH,
    npm_config_store_dir: join(folder, 'store'),
    YARN_GLOBAL_FOLDER: join(folder, 'yarn'),
    YARN_ENABLE_IMMUTABLE_INSTALLS: 'false',
    YARN_ENABLE_TELEMETRY: '0',
    YARN_NPM_REGISTRY_SERVER: execFileSync('npm', ['config', 'get', 'registry'], { encoding: 'utf8' }).trim(),
  }
  if (linker !== undefined) {
    writeFileSync(join(project, 'yarn.lock'), '')
    writeFileSync(join(project, '.yarnrc.yml'), `nodeLinker: ${linker}\nenableScripts: ${!ignoreScripts}\n`)
  }
  const args = ['install', ...(ignoreScripts && linker === undefined ? ['--ignore-scripts'] : [])]
  const { status, error, stdout, stderr } = spawnSync(command, [...first, ...args], {
    cwd: project,
    env,
    encoding: 'utf8',
  })
  if (error) throw error
  const said = stdout + stderr
  if (status !== 0) return { installed: `failed: ${said.trim().split('\n').at(-1)}` }
  const flags = linker === 'pnp' ? ['--require', './.pnp.cjs', '--loader', './.pnp.loader.mjs'] : []
  const use = (user = {}) => spawnSync(node, [...flags, 'main.js'], { cwd: project, env, encoding: 'utf8', ...user })
  const outcomeOf = ({ stdout, stderr }) => stdout.trim() || stderr.trim().split('\n').at(-1)

  const installed = /ignored build scripts|must be built|allow-?scripts/i.test(said) ? 'asks for scripts' : 'silent'
  const used = outcomeOf(use())
  let built = ''
  if (ignoreScripts) {
    execFileSync('find', [project, '-name', 'prebuilds', '-execdir', 'mv', '{}', 'away', ';', '-prune'])
    const [, line] = /run `(.*)`$/m.exec(use().stderr) ?? []
    // Yarn isn't in PATH.
    const inPlace = line?.replace(/^yarn/, [command, ...first].map((word) => `"${word}"`).join(' '))
    const ended = spawnSync('/bin/sh', ['-c', String(inPlace)], { cwd: project, env, encoding: 'utf8' })
    built = ended.status === 0 ? outcomeOf(use()) : outcomeOf(ended)
  }
  makeReadOnly(project)
  const readOnly = outcomeOf(use(process.getuid() === 0 ? { uid: NOBODY, gid: NOBODY } : {}))
  return { installed, used, built, readOnly }
}

/** Packs this package, or the one that is named, into a folder; the tarball's path. npm prints the name that it has given it. */
function pack(spec, into) {
  const args = ['pack', ...spec, '--silent', '--pack-destination', into]
  return join(
    into,
    execFileSync('npm', args, { cwd: PROJECT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim()
  )
}

try {
  const tarball = process.argv[2] === undefined ? pack([], folder) : resolve(process.argv[2])
  console.log(
    '| manager | Node | options | its words | the heap | built from source | read-only |\n|---|---|---|---|---|---|---|'
  )
  for (const manager of MANAGERS) {
    for (const ignoreScripts of [false, true]) {
      const { installed, used, built, readOnly } = tryInstall(manager, tarball, ignoreScripts)
      const name = `${manager.name} ${manager.version} ${manager.linker ?? ''}`.trim()
      const options = !ignoreScripts ? '' : manager.linker ? 'enableScripts: false' : '--ignore-scripts'
      console.log(
        `| ${name} | ${RELEASES[manager.major]} | ${options} | ${installed} | ${used} | ${built} | ${readOnly} |`
      )
      if (used !== 'native' || readOnly !== 'native' || (ignoreScripts && built !== 'native')) process.exitCode = 1
    }
  }
} finally {
  execFileSync('chmod', ['-R', 'u+w', folder])
  rmSync(folder, { recursive: true, force: true })
}
