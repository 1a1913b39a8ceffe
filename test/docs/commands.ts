import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT, run } from '../support/child.ts'

const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
/** The command `spanheap` of the package spanheap-tools. */
const COMMAND = 'dist/tools/cli/main.js'
/** What npm does without a script. */
const OF_NPM = ['ci', 'install', 'rebuild', 'pack', 'publish']
/** Files that stand for the reader's own. */
const READERS = /^(\/opt\/|\$node|app\.|run\.|\.\/server|traces\/NAME)/
const helps = new Map<string, Promise<string>>()

/** What is wrong with a line of a shell block: a command, file, script or option that isn't there; undefined where all are. */
export async function faultOf(line: string): Promise<string | undefined> {
  for (const command of line.replace(/(^|\s)#.*$/, '').split('&&')) {
    const words = command
      .trim()
      .split(/\s+/)
      .filter((word) => word !== '')
    while (/^\w+=/.test(words[0] ?? '')) words.shift()
    if (words.length === 0) continue
    const fault = await faultOfCommand(words)
    if (fault !== undefined) return fault
  }
  return undefined
}

async function faultOfCommand([program, ...args]: string[]): Promise<string | undefined> {
  switch (program) {
    case 'npm':
      return faultOfNpm(args)
    case 'node':
      return faultOfNode(args)
    case 'npx':
      if (args[0] === 'spanheap') return faultOfSpanheap(args.slice(1))
      return existsSync(join(ROOT, 'node_modules/.bin', args[0]!)) ? missing(args.filter(isPath)) : `no ${args[0]}`
    default:
      return `${program} isn't known`
  }
}

async function faultOfNpm([command, ...args]: string[]): Promise<string | undefined> {
  if (OF_NPM.includes(command!)) return undefined
  const name = command === 'run' ? args[0]! : command!
  const script = scripts[name]
  if (script === undefined) return `no script ${name}`
  const options = args.includes('--') ? args.slice(args.indexOf('--') + 1) : []
  return script.startsWith('node ') ? faultOfNode([...script.split(' ').slice(1), ...options]) : undefined
}

/** A script exists, and its source names the options that it is given. */
async function faultOfNode(args: string[]): Promise<string | undefined> {
  const at = args.findIndex((arg) => !arg.startsWith('-'))
  const script = args[at]!
  if (script === COMMAND) return faultOfSpanheap(args.slice(at + 1))
  const fault = missing([script])
  if (fault !== undefined) return fault
  const source = readFileSync(join(ROOT, script), 'utf8')
  const options = args.slice(at + 1).filter((arg) => arg.startsWith('--'))
  const unknown = options.find((option) => !new RegExp(`\\b'?${option.slice(2).split('=')[0]}'?\\b`).test(source))
  return unknown === undefined ? missing(args.slice(at + 1).filter(isPath)) : `${script} has no ${unknown}`
}

/** The help of the command has each option. */
async function faultOfSpanheap([command, ...args]: string[]): Promise<string | undefined> {
  if (command === '…' || command === undefined) return undefined
  if (!helps.has(command)) {
    const text = run(process.execPath, [join(ROOT, COMMAND), command, '--help']).then(({ stdout }) => stdout)
    helps.set(command, text)
  }
  const help = await helps.get(command)!
  if (!help.includes(`Usage: spanheap ${command}`)) return `no command ${command}`
  const own = args.includes('--') ? args.slice(0, args.indexOf('--')) : args
  const unknown = own.find((arg) => arg.startsWith('-') && !new RegExp(`(^|[\\s,])${arg}\\b`, 'm').test(help))
  return unknown === undefined ? missing(own.filter(isPath)) : `${command} has no ${unknown}`
}

const isPath = (word: string) => /^[\w.-]+\/[\w./-]+$/.test(word)

function missing(paths: string[]): string | undefined {
  const path = paths.find((candidate) => !READERS.test(candidate) && !existsSync(join(ROOT, candidate)))
  return path === undefined ? undefined : `no file ${path}`
}
