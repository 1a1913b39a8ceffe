import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { PACKAGE_ROOT } from '../package-root.ts'
import { failed } from './program.ts'

/** The recorder's source, which comes with the package. */
const SOURCE = join(PACKAGE_ROOT, 'record/recorder/recorder.c')
const FLAGS = ['-std=c11', '-O2', '-fPIC', '-shared', '-fvisibility=hidden', '-pthread']

/**
 * Compiles the recorder into a folder, with the compiler that `CC` names, or `cc`.
 * @throws AllocatorError `ERR_RECORD_FAILED`
 */
export function buildNativeRecorder(folder: string): string {
  if (process.platform !== 'linux') throw failed('programs other than Node are recorded on Linux only')
  const library = join(folder, 'recorder.so')
  const compiler = process.env.CC ?? 'cc'
  const { error, status, stderr } = spawnSync(compiler, [...FLAGS, '-o', library, SOURCE, '-ldl'], { encoding: 'utf8' })
  if (error !== undefined) {
    throw failed(`to record a program other than Node takes a C compiler, and ${compiler} can't be run`, error)
  }
  if (status !== 0) throw failed(`${compiler} can't compile the recorder: ${stderr.trim().split('\n', 1)[0]}`)
  return library
}

/** The environment by which a program loads the recorder and finds its log. */
export function nativeEnvironment(library: string, log: string): NodeJS.ProcessEnv {
  const others = process.env.LD_PRELOAD
  return {
    ...process.env,
    LD_PRELOAD: others === undefined || others === '' ? library : `${library}:${others}`,
    SPANHEAP_RECORD_LOG: log,
  }
}
