// Bundles what draws the charts of the benchmark's report, its library with it: the report is one file and asks for no other.
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const path = (relative) => fileURLToPath(new URL(`../${relative}`, import.meta.url))

await build({
  entryPoints: [path('bench/report/charts.ts')],
  outfile: path('dist/bench/report/charts.js'),
  bundle: true,
  minify: true,
  format: 'iife',
  target: 'es2022',
  // It stands inside of a page.
  charset: 'ascii',
  legalComments: 'none',
})
