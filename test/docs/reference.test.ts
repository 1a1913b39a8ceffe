import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { Application, Logger, LogLevel, ReflectionKind } from 'typedoc'
import { ROOT } from '../support/child.ts'

class Complaints extends Logger {
  readonly all: string[] = []

  override log(message: string, level: LogLevel): void {
    if (level >= LogLevel.Warn) this.all.push(message)
  }
}

test('every public name has a doc comment, and every link in one leads somewhere', async (t) => {
  t.timeout(120_000)
  const app = await Application.bootstrapWithPlugins({ readme: 'none', projectDocuments: [] })
  t.like(app.options.getValue('validation'), { notDocumented: true, notExported: true, invalidLink: true })
  const complaints = new Complaints()
  app.logger = complaints
  const project = (await app.convert())!
  app.validate(project)
  t.deepEqual(complaints.all, [])

  // What was looked at is all that the package exports.
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    exports: Record<string, { types: string }>
  }
  const entries = Object.values(exports).filter(({ types }) => types !== undefined)
  const sources = entries.map(({ types }) => types.replace(/^\.\/dist\//, '').replace(/\.d\.ts$/, '.ts'))
  t.deepEqual(
    app.options.getValue('entryPoints').map((path) => path.slice(path.indexOf('lib/'))),
    sources
  )
  const modules = project.getReflectionsByKind(ReflectionKind.Module)
  t.is(modules.length, entries.length)
  t.true(project.getReflectionsByKind(ReflectionKind.SomeMember).length > 300)
})
