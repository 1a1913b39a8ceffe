import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './child.ts'

/** A command of docs/the-story.md, and what the document says that it prints. */
export interface Sample {
  /** The script's name, without its folder and `.js`. */
  script: string
  args: string[]
  printed: string
  /** Where `printed` begins in the document. */
  at: number
}

export const STORY = 'docs/the-story.md'

export function readStory(): string {
  return readFileSync(join(ROOT, STORY), 'utf8')
}

export function samplesOf(story: string): Sample[] {
  const blocks = /^```sh\nnode examples\/story\/([\w-]+)\.js(.*)\n```\n\n```\n([\s\S]*?)^```$/gm
  return [...story.matchAll(blocks)].map((match) => ({
    script: match[1]!,
    args: match[2]!.split(' ').filter((arg) => arg !== ''),
    printed: match[3]!,
    at: match.index + match[0].length - '```'.length - match[3]!.length,
  }))
}

/** What must come out the same on every machine: all but times, and numbers behind a ~. How wide these are moves what follows. */
export function exact(printed: string): string {
  return printed
    .replace(/~\d+(\.\d+)?/g, '~')
    .replace(/\d+(\.\d+)? (ns|µs|ms)\b/g, '? $2')
    .replace(/ +/g, ' ')
}

/** The numbers of a text, but not those of names such as V8. */
export function numbersOf(text: string): string[] {
  return text.match(/(?<![\w.])\d+(?:\.\d+)?/g) ?? []
}

/** What a drawing says. */
export function textOf(drawing: string): string {
  const svg = readFileSync(join(ROOT, 'docs/story', drawing), 'utf8')
  return [...svg.matchAll(/<(?:text|desc|title|tspan)[^>]*>([^<]*)/g)].map(([, text]) => text).join('\n')
}
