import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of this package: what isn't compiled is there, wherever the compiled files are. */
export const PACKAGE_ROOT = dirname(fileURLToPath(import.meta.resolve('spanheap-tools/package.json')))
