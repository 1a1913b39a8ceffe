import { cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { programNamed } from '../../lib/os/build-tools.ts'
import { prebuiltPath } from '../../lib/os/prebuilt.ts'
import { type Ended, ROOT, run } from './child.ts'

/** Of the project: what git doesn't have and a package is not made of. */
const NOT_COPIED = ['.git', 'build', 'node_modules', 'prebuilds']
const INSTALL_SECONDS = 180
/** The command's longest takes ten seconds; a busy machine more. */
const RUN_SECONDS = 150

/** The addon that was built for the Node that runs the tests. */
export const BUILT_ADDON = join(ROOT, 'build/Release/spanheap.node')

/** Packs the package, and installs it into projects that have nothing else, all in one temporary folder, with a space in its path. */
export class Installation {
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), 'spanheap install-')))
  private readonly env: NodeJS.ProcessEnv

  constructor() {
    // Node, npm and the shell by which npm runs scripts, and nothing else: no compiler, make or Python.
    const programs = join(this.folder, 'bin')
    mkdirSync(programs)
    symlinkSync(process.execPath, join(programs, 'node'))
    for (const name of ['npm', 'sh']) symlinkSync(realpathSync(programNamed(name)!), join(programs, name))
    // What npm tells the scripts that it runs, as it did this one, is of the outer project.
    const outer = /^npm_(package|lifecycle|command|node_execpath|config_(local|global)_prefix)/
    const kept = Object.entries(process.env).filter(([name]) => !outer.test(name))
    this.env = { ...Object.fromEntries(kept), PATH: programs }
  }

  /** Makes the tarball as `npm publish` would, with the running Node's addon as the only prebuilt binary, or without any. */
  async pack({ prebuilt }: { prebuilt: boolean }): Promise<string> {
    const copy = join(this.folder, prebuilt ? 'with-prebuilt' : 'without-prebuilt')
    cpSync(ROOT, copy, { recursive: true, filter: (from) => isPackedFrom(relative(ROOT, from)) })
    if (prebuilt) {
      const binary = join(copy, relative(ROOT, prebuiltPath()))
      mkdirSync(dirname(binary), { recursive: true })
      cpSync(BUILT_ADDON, binary)
    }
    return this.packed(copy)
  }

  /** The same of the package of tools. Its types are those of the library that is compiled here. */
  async packTools(): Promise<string> {
    const copy = join(this.folder, 'tools')
    const own = join(ROOT, 'tools')
    cpSync(own, copy, { recursive: true, filter: (from) => !['dist', 'test'].includes(relative(own, from)) })
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    const dist = join(copy, 'dist')
    await this.succeed(process.execPath, [tsc, '-p', own, '--outDir', dist], own)
    await this.succeed(process.execPath, ['bench/report/bundle.mjs', join(dist, 'bench/report/charts.js')], own)
    return this.packed(copy)
  }

  private async packed(folder: string): Promise<string> {
    const { status, stdout, stderr } = await this.npm(folder, 'pack', '--ignore-scripts', '--silent')
    if (status !== 0) throw new Error(stderr)
    return join(folder, stdout.trim())
  }

  private async succeed(command: string, args: readonly string[], cwd: string): Promise<void> {
    const { status, stdout, stderr } = await run(command, args, INSTALL_SECONDS, { cwd })
    if (status !== 0) throw new Error(stdout + stderr)
  }

  /** A project with nothing in it but a package.json. */
  project(name: string): string {
    const folder = join(this.folder, name)
    mkdirSync(folder)
    writeFileSync(join(folder, 'package.json'), '{}')
    return folder
  }

  /** Runs `npm install` of tarballs where there is no compiler. */
  install(project: string, tarballs: string | readonly string[], ...flags: string[]): Promise<Ended> {
    return this.npm(project, 'install', ...[tarballs].flat(), '--prefer-offline', '--no-audit', '--no-fund', ...flags)
  }

  /** Runs `npm rebuild` where there is no compiler. */
  rebuild(project: string): Promise<Ended> {
    return this.npm(project, 'rebuild', 'spanheap', '--foreground-scripts')
  }

  /** Runs another package manager, which one of the project's own dependencies is, where there is no compiler. */
  manager(project: string, script: string, args: readonly string[], settings: NodeJS.ProcessEnv = {}): Promise<Ended> {
    const env = { ...this.env, ...settings }
    return run(process.execPath, [join(ROOT, 'node_modules', script), ...args], INSTALL_SECONDS, { cwd: project, env })
  }

  /** Runs a line of a shell in a project, where there is no compiler unless `env` has one. */
  shell(project: string, line: string, env = this.env): Promise<Ended> {
    return run('/bin/sh', ['-c', line], INSTALL_SECONDS, { cwd: project, env })
  }

  /** Runs Node in a project. */
  node(project: string, ...args: string[]): Promise<Ended> {
    return run(process.execPath, args, RUN_SECONDS, { cwd: project })
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }

  private npm(cwd: string, ...args: string[]): Promise<Ended> {
    return run(join(this.folder, 'bin/npm'), args, INSTALL_SECONDS, { cwd, env: this.env })
  }
}

/** Whether a file is there when the package is packed: it is compiled anew then, so that of sources that are gone nothing is left. */
function isPackedFrom(path: string): boolean {
  // Maps are left of a measurement of coverage: what is compiled for packing has none.
  if (NOT_COPIED.includes(path) || path.endsWith('.map')) return false
  // Nor is anything packed of the tests, which make folders beside their own, and take them away again.
  if (/^dist\/(?!lib(\/|$))/.test(path)) return false
  const compiled = /^dist\/(.*?)(?:\.d)?\.(c?)(?:js|ts)$/.exec(path)
  return compiled === null || existsSync(join(ROOT, `${compiled[1]}.${compiled[2]}ts`))
}
