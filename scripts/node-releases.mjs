// The releases of Node that the addon is tested with and prebuilt for. Their binaries and headers come from npm's packages
// node-PLATFORM-ARCHITECTURE and stay in node_modules/.cache.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** By major version. */
export const RELEASES = { 20: '20.20.2', 22: '22.23.3', 24: '24.21.0', 26: '26.10.0' }
export const PROJECT = fileURLToPath(new URL('../', import.meta.url))
const CACHE = join(PROJECT, 'node_modules/.cache/spanheap-node')

/** The majors that were named, all by default. @throws Error where one is none of {@link RELEASES} */
export function majorsOf(named, all = Object.keys(RELEASES)) {
  for (const major of named) {
    if (!(major in RELEASES)) throw new Error(`Node ${major} is none of ${Object.keys(RELEASES).join(', ')}`)
  }
  return named.length > 0 ? named : all
}

/** The folder with bin/node and include/node of a version. */
export function nodeFolderOf(version, arch = process.arch) {
  const name = `node-${process.platform}-${arch}`
  const folder = join(CACHE, `${name}-${version}`)
  if (existsSync(folder)) return folder
  mkdirSync(CACHE, { recursive: true })
  const unpacked = mkdtempSync(`${folder}-`)
  try {
    // This may run inside `npm pack --dry-run`, whose options are in the environment.
    const options = ['--silent', '--dry-run=false', '--pack-destination', unpacked]
    execFileSync('npm', ['pack', `${name}@${version}`, ...options], { stdio: 'ignore' })
    execFileSync('tar', ['-xzf', join(unpacked, `${name}-${version}.tgz`), '-C', unpacked])
    renameSync(join(unpacked, 'package'), folder)
  } finally {
    rmSync(unpacked, { recursive: true })
  }
  return folder
}

/** The environment in which that folder's Node is `node`, and addons are built against its headers. */
export function environmentOf(nodeFolder) {
  const PATH = join(nodeFolder, 'bin') + delimiter + process.env.PATH
  return { ...process.env, PATH, npm_config_nodedir: nodeFolder }
}
