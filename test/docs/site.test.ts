import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, posix } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { ROOT } from '../support/child.ts'
import { documents } from './blocks.ts'

interface Pages {
  PAGES: string[]
  placeOf(page: string): string
  titleOf(page: string): string
  staged(page: string, picture?: (path: string) => void): string
}

/** A module of site/, none of which needs the packages of the site itself. */
const moduleOf = async <T>(name: string) => (await import(pathToFileURL(join(ROOT, 'site', name)).href)) as T
const { PAGES, placeOf, titleOf, staged } = await moduleOf<Pages>('pages.mjs')
const { faults } = await moduleOf<{ faults(folder: string): string[] }>('check.mjs')

test('the site has each document of the project once, and no other', (t) => {
  t.deepEqual([...PAGES].sort(), documents().sort())
  t.is(new Set(PAGES.map(titleOf)).size, PAGES.length, 'two documents have one title')
})

test('links and pictures of a page of the site lead to what the site has, in both colour schemes', (t) => {
  const places = new Set(PAGES.map(placeOf))
  let links = 0
  for (const page of PAGES) {
    const pictures: string[] = []
    const text = staged(page, (picture) => pictures.push(picture))
    for (const picture of pictures)
      t.regex(readFileSync(join(ROOT, picture), 'utf8'), /@media \(prefers-color-scheme: dark\)/, picture)
    for (const [, path] of text.matchAll(/(?<!!)\[[^\]]*\]\((?!\w+:)([^)#\s]+)/g)) {
      t.true(places.has(posix.join(posix.dirname(placeOf(page)), path!)), `${page}: ${path}`)
      links++
    }
  }
  t.true(links > 50)
})

test('a link of the built site that leads nowhere is a fault, and so is one to an anchor that its page hasn’t', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'site-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  mkdirSync(join(folder, 'docs'))
  const a =
    '<h1 id="a"></h1><a class="x" href="docs/b.html#b">b</a> <a x href="/docs/b.html">b</a> <a href="https://x/y">'
  writeFileSync(join(folder, 'index.html'), a)
  writeFileSync(
    join(folder, 'docs/b.html'),
    '<h1 id="b"></h1><a class="x" href="/#a">a</a> <a x href="../index.html#a">'
  )
  t.deepEqual(faults(folder), [])
  writeFileSync(join(folder, 'docs/b.html'), '<a x href="c.html"> <a x href="/#c"> <img x src="/c.svg">')
  t.deepEqual(faults(folder).sort(), [
    'docs/b.html: /#c has no such anchor',
    'docs/b.html: /c.svg leads nowhere',
    'docs/b.html: c.html leads nowhere',
    'index.html: docs/b.html#b has no such anchor',
  ])
})

test('what builds the site is pinned, and in no package of the project', (t) => {
  const manifestOf = (path: string) => JSON.parse(readFileSync(join(ROOT, path), 'utf8')) as Record<string, unknown>
  const { devDependencies, dependencies } = manifestOf('site/package.json')
  t.is(dependencies, undefined)
  for (const version of Object.values(devDependencies as Record<string, string>)) t.regex(version, /^\d+\.\d+\.\d+$/)
  t.true(existsSync(join(ROOT, 'site/package-lock.json')))
  const { files, workspaces } = manifestOf('package.json') as { files: string[]; workspaces: string[] }
  for (const path of [...files, ...workspaces]) t.false(path.startsWith('site'), path)
})
