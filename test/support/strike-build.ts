import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const STRIKE = 'globalThis.strike()'

/**
 * A build of the library that can be struck: with a call to `globalThis.strike` wherever V8 lets `terminate()`, a vm timeout or
 * a stack overflow strike: at every function entry, at every turn of a loop, and before every Atomics operation.
 * Returns the path of the folder of `dist/` that it is in: two test files must not have one.
 */
export function strikeBuild(folder: string): string {
  const from = fileURLToPath(new URL('../../lib/', import.meta.url))
  const to = fileURLToPath(new URL(`../../${folder}/`, import.meta.url))
  cpSync(from, to, { recursive: true })
  for (const name of readdirSync(from, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.js'))) {
    writeFileSync(join(to, name), instrument(readFileSync(join(from, name), 'utf8')))
  }
  return to
}

/** A text to put in, and whether it opens what a node is put into, or closes it. */
interface Insertion {
  at: number
  text: string
  closes: boolean
}

/** Puts the calls into the text where they belong, and leaves the rest as it is. */
function instrument(code: string): string {
  const source = ts.createSourceFile('module.js', code, ts.ScriptTarget.ES2022, true, ts.ScriptKind.JS)
  const insertions: Insertion[] = []
  const wrap = (node: ts.Node, before: string, behind: string): void => {
    insertions.push({ at: node.getStart(), text: before, closes: false })
    insertions.push({ at: node.getEnd(), text: behind, closes: true })
  }
  const strikeFirst = (body: ts.Node): void => {
    if (ts.isBlock(body)) insertions.push({ at: body.getStart() + 1, text: `${STRIKE};`, closes: false })
    else if (ts.isExpression(body)) wrap(body, `(${STRIKE}, `, ')')
    else wrap(body, `{ ${STRIKE}; `, ' }')
  }
  const visit = (node: ts.Node): void => {
    // What is thrown in the function that a promise is made with rejects the promise: it doesn't end what makes it.
    const { parent } = node
    const isExecutor = parent && ts.isNewExpression(parent) && parent.expression.getText() === 'Promise'
    if (ts.isFunctionLike(node) && 'body' in node && node.body && !isExecutor) strikeFirst(node.body)
    if (ts.isIterationStatement(node, false)) strikeFirst(node.statement)
    if (ts.isCallExpression(node) && node.expression.getText().startsWith('Atomics.')) wrap(node, `(${STRIKE}, `, ')')
    ts.forEachChild(node, visit)
  }
  visit(source)
  // From the end on, so that what comes before stays where it is. Outer nodes are noted first: where several begin at one
  // place, theirs is put in last, and so in front; where several end, first, and so behind.
  return insertions
    .map((insertion, index) => ({ ...insertion, order: insertion.closes ? -index : index }))
    .sort((a, b) => b.at - a.at || b.order - a.order)
    .reduce((text, { at, text: added }) => text.slice(0, at) + added + text.slice(at), code)
}
