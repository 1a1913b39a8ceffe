/** What one contender's resident memory did: seconds from the drop on (before it they are negative), and bytes. */
export interface Line {
  name: string
  points: [seconds: number, bytes: number][]
  /** Something that was done in between: when, and what it is called. */
  mark?: { seconds: number; label: string } | undefined
}

const WIDTH = 860
const HEIGHT = 440
/** Of the plot inside the picture. */
const BOX = { left: 70, right: 760, top: 92, bottom: 384 }
const GIB = 2 ** 30
/** Rooms between labels at the right, so that none lies on another. */
const LABEL_STEP = 16

/** Colours told apart also by those who confuse red and green; lighter ones on dark ground. */
const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #333 }
  .ground { fill: #fff } .title { font-size: 16px; font-weight: 600; fill: #111 }
  .grid { stroke: #e3e3e3 } .axis { stroke: #888 } .drop { stroke: #888; stroke-dasharray: 4 4 }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round }
  .c0 { stroke: #0063c6 } .c1 { stroke: #1a9a78 } .c2 { stroke: #d1541f } .c3 { stroke: #a03fb5 } .c4 { stroke: #8a6d00 }
  @media (prefers-color-scheme: dark) {
    text { fill: #c9c9c9 } .ground { fill: #14161a } .title { fill: #f2f2f2 }
    .grid { stroke: #2d3138 } .axis, .drop { stroke: #888 }
    .c0 { stroke: #62aaff } .c1 { stroke: #4fd0a9 } .c2 { stroke: #ff9466 } .c3 { stroke: #d78be8 } .c4 { stroke: #d9b93b }
  }`

/** Resident memory over time as an SVG document, for light and dark ground. */
export function soakPicture(title: string, lines: Line[]): string {
  const all = lines.flatMap(({ points }) => points)
  const first = Math.floor(Math.min(...all.map(([seconds]) => seconds)))
  const last = Math.ceil(Math.max(...all.map(([seconds]) => seconds)))
  const most = Math.max(...all.map(([, bytes]) => bytes)) / GIB
  const gridStep = most > 4 ? 1 : most > 1 ? 0.5 : 0.125
  const top = Math.ceil(most / gridStep) * gridStep
  const x = (seconds: number) => BOX.left + ((seconds - first) / (last - first)) * (BOX.right - BOX.left)
  const y = (bytes: number) => BOX.bottom - (bytes / GIB / top) * (BOX.bottom - BOX.top)
  const parts = [
    `<rect class="ground" width="${WIDTH}" height="${HEIGHT}"/>`,
    text(BOX.left, 28, escaped(title), 'class="title"'),
  ]
  for (let gib = 0; gib <= top; gib += gridStep) {
    parts.push(stroke('grid', BOX.left, y(gib * GIB), BOX.right, y(gib * GIB)))
    parts.push(text(BOX.left - 8, y(gib * GIB) + 4, `${gib}`, 'text-anchor="end"'))
  }
  const secondStep = [1, 2, 5, 10, 20, 50, 100].find((step) => (last - first) / step <= 12) ?? 500
  for (let seconds = Math.ceil(first / secondStep) * secondStep; seconds <= last; seconds += secondStep) {
    parts.push(stroke('axis', x(seconds), BOX.bottom, x(seconds), BOX.bottom + 5))
    parts.push(text(x(seconds), BOX.bottom + 20, `${seconds}`.replace('-', '−'), 'text-anchor="middle"'))
  }
  parts.push(
    stroke('axis', BOX.left, BOX.bottom, BOX.right, BOX.bottom),
    stroke('drop', x(0), BOX.top, x(0), BOX.bottom),
    text(x(0), BOX.top - 6, '90 % dropped, then quiet', 'text-anchor="middle"'),
    text(BOX.left - 8, BOX.top - 14, 'GiB resident', 'text-anchor="middle"'),
    text((BOX.left + BOX.right) / 2, BOX.bottom + 42, 'seconds from the drop', 'text-anchor="middle"')
  )
  for (const [i, { points }] of lines.entries()) {
    const path = points.map(([seconds, bytes]) => `${x(seconds).toFixed(1)},${y(bytes).toFixed(1)}`).join(' ')
    parts.push(`<polyline class="line c${i}" points="${path}"/>`)
  }
  for (const { mark, points } of lines) {
    if (mark === undefined) continue
    const bytes = points.findLast(([seconds]) => seconds <= mark.seconds)?.[1] ?? points[0]![1]
    parts.push(text(x(mark.seconds) + 18, (y(bytes) + BOX.bottom) / 2, escaped(mark.label)))
  }
  parts.push(...legend(lines), ...endLabels(lines, y))
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(title)}">
<style>${STYLE}
</style>
${parts.join('\n')}
</svg>
`
}

/** Names above the plot, each behind a piece of its line. */
function legend(lines: Line[]): string[] {
  let left = BOX.left
  return lines.flatMap(({ name }, i) => {
    const parts = [`<path class="line c${i}" d="M${left} 50h22"/>`, text(left + 28, 54, escaped(name))]
    left += 28 + name.length * 7 + 20
    return parts
  })
}

/** What was resident at the end, beside the ends of the lines. */
function endLabels(lines: Line[], y: (bytes: number) => number): string[] {
  const ends = lines.map(({ points }, i) => ({ i, bytes: points.at(-1)![1] })).sort((a, b) => a.bytes - b.bytes)
  let highest = Number.POSITIVE_INFINITY
  return ends.flatMap(({ i, bytes }) => {
    highest = Math.min(y(bytes), highest - LABEL_STEP)
    return [
      `<path class="line c${i}" d="M${BOX.right + 2} ${y(bytes).toFixed(1)}L${BOX.right + 14} ${highest.toFixed(1)}"/>`,
      text(BOX.right + 18, highest + 4, `${(bytes / 2 ** 20).toFixed(0)} MiB`),
    ]
  })
}

function stroke(name: string, x1: number, y1: number, x2: number, y2: number): string {
  const [a, b, c, d] = [x1, y1, x2, y2].map((value) => value.toFixed(1))
  return `<line class="${name}" x1="${a}" y1="${b}" x2="${c}" y2="${d}"/>`
}

function text(x: number, y: number, content: string, more = ''): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${content}</text>`
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}
