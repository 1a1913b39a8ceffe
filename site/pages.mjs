// Which documents the site has, in reading order, and what is changed in them on the way to it.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** Groups of the side bar. A document is named by its path from the project's root; its title is its first heading. */
export const GROUPS = [
  { text: 'Start', pages: ['README.md', 'docs/installing.md', 'docs/migrating.md', 'docs/recipes.md'] },
  {
    text: 'Guides',
    pages: [
      'docs/heap.md',
      'docs/buffers.md',
      'docs/pools.md',
      'docs/threads.md',
      'docs/structs.md',
      'docs/binary.md',
      'docs/lifetimes.md',
      'docs/debugging.md',
      'docs/tuning.md',
      'docs/troubleshooting.md',
      'docs/node-apis.md',
      'SECURITY.md',
    ],
  },
  { text: 'Measure', pages: ['docs/performance.md', 'docs/cli.md', 'docs/recording.md', 'docs/traces.md'] },
  { text: 'Other designs', pages: ['docs/the-story.md', 'docs/go-heap.md'] },
  {
    text: 'Inside',
    pages: [
      'ARCHITECTURE.md',
      'lib/README.md',
      'docs/tiers.md',
      'docs/protocol.md',
      'docs/owners.md',
      'docs/memory-order.md',
      'docs/size-classes.md',
      'docs/v8.md',
      'docs/decisions/README.md',
      ...readdirSync(join(ROOT, 'docs/decisions'))
        .filter((name) => /^\d\d-.*\.md$/.test(name))
        .sort()
        .map((name) => `docs/decisions/${name}`),
    ],
  },
  {
    text: 'Work on it',
    pages: ['CONTRIBUTING.md', 'docs/testing.md', 'tools/README.md', 'tools/bench/README.md', 'CHANGELOG.md'],
  },
]

export const PAGES = GROUPS.flatMap(({ pages }) => pages)

/** Where a document is on the site, from the site's root: a README is its folder's first page. */
export const placeOf = (page) => page.replace(/README\.md$/, 'index.md')

/** Its first heading, as plain text. */
export const titleOf = (page) => /^# (.+)$/m.exec(readFileSync(join(ROOT, page), 'utf8'))[1].replaceAll('`', '')

/** The anchor of a heading, as the sites that show Markdown make it; test/docs compares links with these. */
export const anchorOf = (heading) =>
  heading
    .toLowerCase()
    .replace(/[^\w -]/g, '')
    .replaceAll(' ', '-')

/**
 * A document as the site shows it. A link to another document leads to its page, a picture is copied, and what is neither (a folder, the
 * licence) is left as its text.
 * @param picture is called with the path of each picture, from the project's root
 */
export function staged(page, picture = () => {}) {
  const text = readFileSync(join(ROOT, page), 'utf8')
  return text.replace(
    /(!?)\[((?:[^[\]]|\[[^\]]*\])*)\]\((?!\w+:)([^)#\s]*)(#[^)]*)?\)/g,
    (link, bang, label, path, hash = '') => {
      if (path === '') return link
      const target = posix.join(posix.dirname(page), path)
      if (bang !== '') picture(target)
      if (bang !== '') return link
      if (!PAGES.includes(target)) return label
      return `[${label}](${posix.relative(posix.dirname(page), placeOf(target))}${hash})`
    }
  )
}

/** Writes all documents and their pictures into a folder. */
export function stage(folder) {
  const write = (path, contents) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), contents)
  }
  for (const page of PAGES) {
    const text = staged(page, (picture) => {
      mkdirSync(dirname(join(folder, picture)), { recursive: true })
      copyFileSync(join(ROOT, picture), join(folder, picture))
    })
    write(placeOf(page), text)
  }
}

/** The side bar's groups for the reference, which typedoc has written: a group for each module, by kinds. */
export function referenceGroups(folder) {
  if (!existsSync(folder)) return []
  const modules = readdirSync(folder).filter((name) => statSync(join(folder, name)).isDirectory())
  modules.sort((a, b) => Number(b === 'index') - Number(a === 'index') || (a < b ? -1 : 1))
  return modules.map((module) => {
    const kinds = readdirSync(join(folder, module)).filter((name) => statSync(join(folder, module, name)).isDirectory())
    const items = kinds.flatMap((kind) =>
      readdirSync(join(folder, module, kind)).map((file) => ({
        text: file.replace(/\.md$/, ''),
        link: `/reference/${module}/${kind}/${file}`,
      }))
    )
    return {
      text: module === 'index' ? 'spanheap' : `spanheap/${module}`,
      link: `/reference/${module}/index.md`,
      collapsed: true,
      items,
    }
  })
}
