import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

/**
 * A build of the library that can be struck: with a call to `globalThis.strike` wherever V8 lets `terminate()`, a vm timeout or
 * a stack overflow strike: at every function entry, at every turn of a loop, and before every Atomics operation.
 * Returns the folder that it is in.
 */
export function strikeBuild(): string {
  const from = fileURLToPath(new URL('../../lib/', import.meta.url))
  const to = fileURLToPath(new URL('../../strike/', import.meta.url))
  cpSync(from, to, { recursive: true })
  for (const name of readdirSync(from, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.js'))) {
    const path = join(to, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, instrument(readFileSync(join(from, name), 'utf8')))
  }
  return to
}

const { factory } = ts
const strike = () =>
  factory.createCallExpression(
    factory.createPropertyAccessExpression(factory.createIdentifier('globalThis'), 'strike'),
    undefined,
    []
  )

function instrument(code: string): string {
  const source = ts.createSourceFile('module.js', code, ts.ScriptTarget.ES2022, true, ts.ScriptKind.JS)
  const result = ts.transform(source, [
    (context) => (file) => {
      const visit = (node: ts.Node): ts.Node => struck(ts.visitEachChild(node, visit, context))
      return ts.visitNode(file, visit) as ts.SourceFile
    },
  ])
  return ts.createPrinter().printFile(result.transformed[0]!)
}

const statement = () => factory.createExpressionStatement(strike())

/** A body that is struck first. */
function block(body: ts.Statement): ts.Block {
  return factory.createBlock([statement(), ...(ts.isBlock(body) ? body.statements : [body])], true)
}

function struck(node: ts.Node): ts.Node {
  if (ts.isMethodDeclaration(node) && node.body)
    return factory.updateMethodDeclaration(
      node,
      node.modifiers,
      node.asteriskToken,
      node.name,
      undefined,
      undefined,
      node.parameters,
      undefined,
      block(node.body)
    )
  if (ts.isGetAccessorDeclaration(node) && node.body)
    return factory.updateGetAccessorDeclaration(
      node,
      node.modifiers,
      node.name,
      node.parameters,
      undefined,
      block(node.body)
    )
  if (ts.isFunctionDeclaration(node) && node.body)
    return factory.updateFunctionDeclaration(
      node,
      node.modifiers,
      node.asteriskToken,
      node.name,
      undefined,
      node.parameters,
      undefined,
      block(node.body)
    )
  if (ts.isConstructorDeclaration(node) && node.body)
    return factory.updateConstructorDeclaration(node, node.modifiers, node.parameters, block(node.body))
  if (ts.isArrowFunction(node)) {
    const body = ts.isBlock(node.body) ? block(node.body) : factory.createParenthesizedExpression(comma(node.body))
    return factory.updateArrowFunction(
      node,
      node.modifiers,
      undefined,
      node.parameters,
      undefined,
      node.equalsGreaterThanToken,
      body
    )
  }
  if (ts.isForStatement(node))
    return factory.updateForStatement(node, node.initializer, node.condition, node.incrementor, block(node.statement))
  if (ts.isWhileStatement(node)) return factory.updateWhileStatement(node, node.expression, block(node.statement))
  if (ts.isDoStatement(node)) return factory.updateDoStatement(node, block(node.statement), node.expression)
  if (ts.isForOfStatement(node))
    return factory.updateForOfStatement(
      node,
      node.awaitModifier,
      node.initializer,
      node.expression,
      block(node.statement)
    )
  if (
    ts.isCallExpression(node) &&
    ts.isPropertyAccessExpression(node.expression) &&
    ts.isIdentifier(node.expression.expression) &&
    node.expression.expression.text === 'Atomics'
  )
    return factory.createParenthesizedExpression(comma(node))
  return node
}

function comma(expression: ts.Expression): ts.Expression {
  return factory.createBinaryExpression(strike(), ts.SyntaxKind.CommaToken, expression)
}
