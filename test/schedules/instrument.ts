import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import type { Mutation } from './mutations.ts'

/** The rooms of lib/ whose code runs in several threads at once, or calls code that does. The others are copied as they are. */
const SHARED_ROOMS = /^(buffers|channel|heap|lifetime|memory|pool|tcmalloc|threads)\//

/** A thread that can't go on gives up its turn anyway: to look at a lock 100 times first would only be steps. */
const SPINS = /const SPINS = \d+/

const { factory } = ts

/** Operators that read an element, compute, and write it back. */
const UPDATES = new Map<ts.SyntaxKind, ts.BinaryOperator>([
  [ts.SyntaxKind.PlusEqualsToken, ts.SyntaxKind.PlusToken],
  [ts.SyntaxKind.MinusEqualsToken, ts.SyntaxKind.MinusToken],
  [ts.SyntaxKind.AsteriskEqualsToken, ts.SyntaxKind.AsteriskToken],
  [ts.SyntaxKind.BarEqualsToken, ts.SyntaxKind.BarToken],
  [ts.SyntaxKind.AmpersandEqualsToken, ts.SyntaxKind.AmpersandToken],
  [ts.SyntaxKind.CaretEqualsToken, ts.SyntaxKind.CaretToken],
])

/** Methods of typed arrays that touch many elements at once, and methods of `Mapping` that call the system. */
const BULK = new Set([
  ...['fill', 'set', 'copyWithin', 'slice', 'indexOf', 'includes', 'filter', 'some', 'every'],
  ...['grow', 'release', 'discard', 'claim', 'claimSlot', 'freeSlot', 'take', 'isolate'],
])

/**
 * A build of the library in `dist/FOLDER/` in which each access to an element, each Atomics operation and each point at which V8 lets a
 * thread be struck (function entries, turns of loops) calls the functions of steps.ts. Returns the folder's path.
 * @param mutation a fault to put in
 */
export function buildWithSteps(folder: string, mutation?: Mutation): string {
  const from = fileURLToPath(new URL('../../lib/', import.meta.url))
  const to = fileURLToPath(new URL(`../../${folder}/`, import.meta.url))
  rmSync(to, { recursive: true, force: true })
  cpSync(from, to, { recursive: true })
  for (const name of readdirSync(from, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.js') || !SHARED_ROOMS.test(name)) continue
    const code = readFileSync(join(from, name), 'utf8')
    writeFileSync(join(to, name), instrument(mutation?.file === name ? mutate(code, mutation) : code))
  }
  return to
}

function mutate(code: string, { name, text, by }: Mutation): string {
  if (code.split(text).length !== 2) throw new Error(`${name}: the text isn't there once`)
  return code.replace(text, () => by)
}

function instrument(code: string): string {
  const text = code.replace(SPINS, 'const SPINS = 1')
  const source = ts.createSourceFile('module.js', text, ts.ScriptTarget.ES2022, true, ts.ScriptKind.JS)
  const { transformed } = ts.transform(source, [(context) => (file) => visitorOf(context)(file) as ts.SourceFile])
  return ts.createPrinter().printFile(transformed[0]!)
}

const call = (name: string, ...args: ts.Expression[]) =>
  factory.createCallExpression(factory.createIdentifier(name), undefined, args)

const strikePoint = () => factory.createExpressionStatement(call('__strikePoint'))

const isElement = (node: ts.Node): node is ts.ElementAccessExpression =>
  ts.isElementAccessExpression(node) &&
  node.questionDotToken === undefined &&
  node.expression.kind !== ts.SyntaxKind.SuperKeyword &&
  !ts.isOptionalChain(node)

function visitorOf(context: ts.TransformationContext): (node: ts.Node) => ts.Node {
  const visit = (node: ts.Node): ts.Node => {
    if (ts.isBinaryExpression(node) && isElement(node.left)) {
      const assigned = assignment(node, node.left)
      if (assigned !== undefined) return assigned
    }
    if ((ts.isPrefixUnaryExpression(node) || ts.isPostfixUnaryExpression(node)) && isElement(node.operand)) {
      const { operator, operand } = node
      if (operator === ts.SyntaxKind.PlusPlusToken || operator === ts.SyntaxKind.MinusMinusToken) {
        const by = factory.createNumericLiteral(1)
        const step = operator === ts.SyntaxKind.PlusPlusToken ? by : factory.createPrefixMinus(by)
        return call(ts.isPrefixUnaryExpression(node) ? '__increment' : '__postIncrement', ...parts(operand), step)
      }
    }
    if (ts.isCallExpression(node)) return visitCall(node)
    if (isElement(node)) {
      if (isTarget(node)) return visitParts(node)
      const name = ts.isNumericLiteral(node.argumentExpression) ? '__loadAt' : '__load'
      return call(name, ...parts(node))
    }
    if (ts.isIterationStatement(node, false)) return visitLoop(node)
    if (ts.isCatchClause(node)) return visitCatch(node)
    if (ts.isTryStatement(node)) return visitTry(node)
    if (ts.isFunctionLike(node)) return visitFunction(node)
    return ts.visitEachChild(node, visit, context)
  }
  const visited = <T extends ts.Node>(node: T) => ts.visitNode(node, visit) as T

  const parts = (node: ts.ElementAccessExpression) => [visited(node.expression), visited(node.argumentExpression)]

  const visitParts = (node: ts.ElementAccessExpression) => {
    const [object, index] = parts(node)
    return factory.updateElementAccessExpression(node, object!, index!)
  }

  const assignment = (node: ts.BinaryExpression, left: ts.ElementAccessExpression): ts.Node | undefined => {
    const { kind } = node.operatorToken
    if (kind === ts.SyntaxKind.EqualsToken) return call('__store', ...parts(left), visited(node.right))
    const operator = UPDATES.get(kind)
    if (operator !== undefined) {
      const old = factory.createIdentifier('__old')
      const value = factory.createBinaryExpression(
        old,
        operator,
        factory.createParenthesizedExpression(visited(node.right))
      )
      const parameter = factory.createParameterDeclaration(undefined, undefined, old)
      const compute = factory.createArrowFunction(undefined, undefined, [parameter], undefined, undefined, value)
      return call('__update', ...parts(left), compute)
    }
    if (kind < ts.SyntaxKind.FirstAssignment || kind > ts.SyntaxKind.LastAssignment) return undefined
    // `??=` and the like, which shared words have no use for.
    return factory.updateBinaryExpression(node, visitParts(left), node.operatorToken, visited(node.right))
  }

  /** Whether an element is assigned to by destructuring, deleted, or called. */
  const isTarget = (node: ts.ElementAccessExpression): boolean => {
    const { parent } = node
    if (ts.isDeleteExpression(parent)) return true
    if (ts.isCallExpression(parent)) return parent.expression === node
    return ts.isArrayLiteralExpression(parent) && ts.isBinaryExpression(parent.parent) && parent.parent.left === parent
  }

  const visitCall = (node: ts.CallExpression): ts.Node => {
    const { expression } = node
    if (
      !ts.isPropertyAccessExpression(expression) ||
      expression.questionDotToken !== undefined ||
      ts.isOptionalChain(node)
    )
      return ts.visitEachChild(node, visit, context)
    const name = factory.createStringLiteral(expression.name.text)
    const args = node.arguments.map((argument) => visited(argument))
    if (ts.isIdentifier(expression.expression) && expression.expression.text === 'Atomics')
      return call('__atomic', name, ...args)
    if (BULK.has(expression.name.text) && expression.expression.kind !== ts.SyntaxKind.SuperKeyword)
      return call('__bulk', visited(expression.expression), name, ...args)
    return ts.visitEachChild(node, visit, context)
  }

  /** The strike point of a loop comes with each turn; `body` may be a single statement. */
  const turn = (body: ts.Statement): ts.Statement =>
    factory.createBlock([strikePoint(), ...(ts.isBlock(body) ? body.statements : [body])])

  const visitLoop = (node: ts.IterationStatement): ts.Node => {
    const loop = ts.visitEachChild(node, visit, context)
    if (ts.isForStatement(loop))
      return factory.updateForStatement(loop, loop.initializer, loop.condition, loop.incrementor, turn(loop.statement))
    if (ts.isForOfStatement(loop))
      return factory.updateForOfStatement(
        loop,
        loop.awaitModifier,
        loop.initializer,
        loop.expression,
        turn(loop.statement)
      )
    if (ts.isWhileStatement(loop)) return factory.updateWhileStatement(loop, loop.expression, turn(loop.statement))
    if (ts.isDoStatement(loop)) return factory.updateDoStatement(loop, turn(loop.statement), loop.expression)
    return loop
  }

  /** A thread that was struck runs no `catch`. */
  const visitCatch = (node: ts.CatchClause): ts.Node => {
    const clause = ts.visitEachChild(node, visit, context)
    const check = factory.createExpressionStatement(call('__notStruck'))
    return factory.updateCatchClause(
      clause,
      clause.variableDeclaration,
      factory.updateBlock(clause.block, [check, ...clause.block.statements])
    )
  }

  /** Nor does it run a `finally`. */
  const visitTry = (node: ts.TryStatement): ts.Node => {
    const statement = ts.visitEachChild(node, visit, context)
    const { finallyBlock } = statement
    if (finallyBlock === undefined) return statement
    const check = factory.createIfStatement(call('__runs'), factory.createBlock(finallyBlock.statements))
    return factory.updateTryStatement(
      statement,
      statement.tryBlock,
      statement.catchClause,
      factory.updateBlock(finallyBlock, [check])
    )
  }

  const visitFunction = (node: ts.SignatureDeclaration): ts.Node => {
    const visitedNode = ts.visitEachChild(node, visit, context) as ts.FunctionLikeDeclaration
    const { body } = visitedNode
    if (body === undefined) return visitedNode
    // An error in a promise's executor rejects the promise; the function around it goes on.
    if (ts.isNewExpression(node.parent) && node.parent.expression.getText() === 'Promise') return visitedNode
    if (!ts.isBlock(body)) {
      const arrow = visitedNode as ts.ArrowFunction
      const struck = factory.createParenthesizedExpression(factory.createComma(call('__strikePoint'), body))
      return factory.updateArrowFunction(
        arrow,
        arrow.modifiers,
        arrow.typeParameters,
        arrow.parameters,
        arrow.type,
        arrow.equalsGreaterThanToken,
        struck
      )
    }
    const block = factory.updateBlock(body, [strikePoint(), ...body.statements])
    return ts.visitEachChild(visitedNode, (child) => (child === body ? block : child), context)
  }
  return visit
}
