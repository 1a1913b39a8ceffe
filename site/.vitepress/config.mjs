import { join } from 'node:path'
import { defineConfig } from 'vitepress'
import { anchorOf, GROUPS, placeOf, ROOT, referenceGroups, titleOf } from '../pages.mjs'

const link = (page) => `/${placeOf(page)}`

/** Decisions are folded into one entry, below the list of them. */
const itemsOf = (pages) => {
  const isDecision = (page) => /^docs\/decisions\/\d/.test(page)
  return pages
    .filter((page) => !isDecision(page))
    .map((page) => {
      const item = { text: page === 'README.md' ? 'What it is' : titleOf(page), link: link(page) }
      if (page !== 'docs/decisions/README.md') return item
      const items = pages.filter(isDecision).map((decision) => ({ text: titleOf(decision), link: link(decision) }))
      return { ...item, collapsed: true, items }
    })
}

export default defineConfig({
  title: 'spanheap',
  description: "Buffers outside V8's heap, which you free yourself, and which all workers of a process can share",
  srcDir: 'pages',
  outDir: 'dist',
  base: process.env.SITE_BASE ?? '/',
  markdown: { anchor: { slugify: anchorOf } },
  themeConfig: {
    search: {
      provider: 'local',
      // A guide comes before the reference to what it tells of.
      options: {
        miniSearch: {
          searchOptions: { boostDocument: (id) => (id.includes('/reference/') ? 0.3 : 1) },
        },
      },
    },
    outline: [2, 3],
    nav: [
      { text: 'Guides', link: '/docs/heap.md' },
      { text: 'Architecture', link: '/ARCHITECTURE.md' },
      { text: 'Reference', link: '/reference/index.md' },
    ],
    sidebar: {
      '/reference/': [
        { text: 'Reference', link: '/reference/index.md', items: referenceGroups(join(ROOT, 'site/pages/reference')) },
      ],
      '/': [
        ...GROUPS.map(({ text, pages }) => ({ text, collapsed: false, items: itemsOf(pages) })),
        { text: 'Reference', items: [{ text: 'All names', link: '/reference/index.md' }] },
      ],
    },
  },
})
