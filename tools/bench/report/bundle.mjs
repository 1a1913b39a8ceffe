// Bundles what draws the charts of the benchmark's report, its library with it: the report is one file and asks for no other.
//
//     node bench/report/bundle.mjs FILE
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const [outfile] = process.argv.slice(2)

await build({
  entryPoints: [fileURLToPath(new URL('charts.ts', import.meta.url))],
  outfile,
  bundle: true,
  minify: true,
  format: 'iife',
  target: 'es2022',
  // It stands inside of a page.
  charset: 'ascii',
  legalComments: 'none',
})
