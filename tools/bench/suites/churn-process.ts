/** A process to be watched: `node churn-process.js HEAP ALLOCATIONS` prints a ChurnReport as JSON. */
import { churn, type HeapName } from './churn.ts'

const [name, allocations] = process.argv.slice(2) as [HeapName, string]
process.stdout.write(JSON.stringify(churn(name, Number(allocations))), () => process.exit())
