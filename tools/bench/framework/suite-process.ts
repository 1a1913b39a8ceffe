/**
 * What a suite measures, in a process of its own: `node suite-process.js SUITE SCALE PARAMETERS` prints rows as JSON.
 */
import { suiteNamed } from './suites.ts'

const [name, , parameters] = process.argv.slice(2) as [string, string, string]
try {
  const rows = await suiteNamed(name).measure(JSON.parse(parameters) as never)
  process.stdout.write(JSON.stringify(rows), () => process.exit())
} catch (error) {
  // One line, which the report shows; by itself Node would begin with the place in the source.
  process.stderr.write(`${(error as Error).message}\n`, () => process.exit(1))
}
