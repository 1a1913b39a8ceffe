// Looks whether every link of the built site leads to a page, and to an anchor in it. (VitePress itself looks at pages only.)
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'

/** What is wrong with the links and pictures of a built site, a line each. */
export function faults(folder) {
  const pages = new Map()
  for (const entry of readdirSync(folder, { recursive: true })) {
    if (entry.endsWith('.html')) pages.set(entry, readFileSync(join(folder, entry), 'utf8'))
  }
  const anchors = new Map(
    [...pages].map(([name, html]) => [name, new Set([...html.matchAll(/\bid="([^"]+)"/g)].map(([, id]) => id))])
  )
  const found = []
  for (const [name, html] of pages) {
    if (name === '404.html') continue
    for (const [, reference] of html.matchAll(/<(?:a|img)\b[^>]*? (?:href|src)="([^"]*)"/g)) {
      if (/^\w+:/.test(reference)) continue
      const [path, hash] = decodeURI(reference).split('#')
      let target =
        path === '' ? name : posix.join(path.startsWith('/') ? '' : posix.dirname(name), path.replace(/^\//, ''))
      if (target === '.' || target.endsWith('/')) target = posix.join(target, 'index.html')
      if (!existsSync(join(folder, target))) found.push(`${name}: ${reference} leads nowhere`)
      else if (hash && !anchors.get(target)?.has(decodeURIComponent(hash)))
        found.push(`${name}: ${reference} has no such anchor`)
    }
  }
  return found
}
