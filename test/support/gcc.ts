import { type Ended, run } from './child.ts'

/** Runs a compiler, which says what to install if there is none. */
export async function compile(args: readonly string[], compiler = 'gcc'): Promise<Ended> {
  try {
    return await run(compiler, args, 240)
  } catch (cause) {
    throw new Error(`${compiler} must be installed for this (Debian: apt-get install ${compiler})`, { cause })
  }
}
