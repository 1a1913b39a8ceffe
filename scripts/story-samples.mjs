// Runs the commands of docs/the-story.md, and writes there what they print. Build first.
//
//     node scripts/story-samples.mjs            where more than times has changed
//     node scripts/story-samples.mjs --times    everywhere
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { exact, readStory, STORY, samplesOf } from '../dist/test/support/story.js'

let story = readStory()
// From the end on, so that the places of the others stay right.
for (const { script, args, printed, at } of samplesOf(story).reverse()) {
  const now = execFileSync(process.execPath, [`examples/story/${script}.js`, ...args], { encoding: 'utf8' })
  if (!process.argv.includes('--times') && exact(now) === exact(printed)) continue
  story = story.slice(0, at) + now + story.slice(at + printed.length)
  console.log(`${script} prints something else`)
}
writeFileSync(STORY, story)
