import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../support/child.ts'

/** A code block of a document. */
export interface Block {
  document: string
  /** The line that it starts at, from 1. */
  line: number
  language: string
  code: string
  /** Why it isn't run, where the document says so. */
  reason: string | undefined
}

const NOT_RUN = /<!-- not run: (.+) -->\s*$/

/** The documents of the project: those that its site shows. */
export function documents(): string[] {
  const inRoot = readdirSync(ROOT).filter((name) => name.endsWith('.md'))
  const inDocs = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.md')
  )
  return [
    ...inRoot,
    ...inDocs.map((name) => `docs/${name}`),
    'lib/README.md',
    'tools/README.md',
    'tools/bench/README.md',
  ]
}

/** All blocks of a document that say what language they are in. */
export function blocksOf(document: string): Block[] {
  const text = readFileSync(join(ROOT, document), 'utf8')
  return [...text.matchAll(/^ *```(\w+)\n([\s\S]*?)^ *```$/gm)].map((match) => {
    const before = text.slice(0, match.index)
    return {
      document,
      line: before.split('\n').length,
      language: match[1]!,
      code: match[2]!,
      reason: NOT_RUN.exec(before)?.[1],
    }
  })
}

/** A program of one or more blocks: the files that it is made of, the main one first. */
export interface Program {
  name: string
  files: { name: string; code: string }[]
}

/** Imports of the package begin a program; a block without goes on with the one before. */
export function programsOf(document: string): Program[] {
  const programs: Block[][] = []
  for (const block of blocksOf(document)) {
    if ((block.language !== 'js' && block.language !== 'ts') || block.reason !== undefined) continue
    const begins = /^import .* from '(spanheap|@thi)/m.test(block.code) || programs.length === 0
    if (begins || /^\/\/ before/.test(block.code)) programs.push([block])
    else programs.at(-1)!.push(block)
  }
  return programs.map((blocks) => ({
    name: `${document}:${blocks.map(({ line }) => line).join('+')}`,
    files: filesOf(blocks.map(({ code }) => code)),
  }))
}

function filesOf(blocks: string[]): { name: string; code: string }[] {
  const others: { name: string; code: string }[] = []
  const bodies = blocks.map((code) => {
    const [main, ...rest] = code.split(/^\/\/ ([\w-]+\.js)$/m)
    for (let i = 0; i < rest.length; i += 2) others.push({ name: rest[i]!, code: said(rest[i + 1]!) })
    return said(main!)
  })
  const imports = new Set(bodies.flatMap((body) => body.match(/^import .*$/gm) ?? []))
  const nested = bodies.map((body) => body.replace(/^import .*$/gm, ''))
  const code = [...imports, ...nested.map((body) => `{\n${body}`), '}'.repeat(nested.length)].join('\n')
  return [{ name: 'main.js', code }, ...others]
}

/** Lines that print, and say what, check it: where the comment begins with a value. */
function said(code: string): string {
  return code.replace(
    /console\.log\((.*)\)( *\/\/ )((?:true|false|hello|-?\d|ERR_)[^\n]*)$/gm,
    (_line, values: string, _gap, comment: string) => `__prints(${JSON.stringify(comment)}, ${values})`
  )
}
