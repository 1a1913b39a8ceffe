// What a script of the story is told on its command line.
import { basename } from 'node:path'

/** Says what is wrong, and how a script is called, and ends the process. */
export function endWith(usage, problem) {
  console.error(`${problem}\nusage: node examples/story/${basename(process.argv[1])} ${usage}`.trimEnd())
  process.exit(2)
}

/** For a script that takes no arguments. */
export function noArguments(at = 2, usage = '') {
  if (process.argv.length > at) endWith(usage, `what is ${process.argv.slice(at).join(' ')}?`)
}

/** The integer that stands at a place of the command line, the last one; `standard` if there is none. */
export function integerArgument(name, { standard, least, most, at = 2 }) {
  const usage = name.startsWith('[') ? name : `[${name}]`
  noArguments(at + 1, usage)
  const text = process.argv[at]
  if (text === undefined) return standard
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= least && value <= most) return value
  return endWith(usage, `${name} is an integer from ${least} to ${most}, not ${JSON.stringify(text)}`)
}
