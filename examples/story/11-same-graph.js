// The same graph on V8's heap and on Go's heap: memory, time, and the longest pause.
//
//     node examples/story/11-same-graph.js [NODES]
//
// A binary tree is built; then subtrees of it are replaced at random until as many nodes have been replaced as it has; then all is
// collected. Each heap has a process of its own.
import { execFileSync } from 'node:child_process'
import { PerformanceObserver, performance } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { integerArgument } from './arguments.js'

const nodes = integerArgument('NODES', { standard: 200_000, least: 1000, most: 5_000_000 })
/** What a child is told: the side that it plays, and the process that started it. */
const [side, parent] = process.env.SAME_GRAPH_SIDE?.split(' ') ?? []
/** A subtree that is replaced has at most this part of the nodes. */
const PARTS = 1024

/** Children of a node with so many nodes below it. */
const leftOf = (count) => count >> 1
const rightOf = (count) => count - leftOf(count)

class TreeNode {
  constructor(value) {
    this.left = null
    this.right = null
    this.value = value
  }
}

/** The tree as objects of JavaScript. */
function onV8() {
  const entries = []
  const observer = new PerformanceObserver((list) => entries.push(...list.getEntries()))
  observer.observe({ entryTypes: ['gc'] })
  globalThis.gc()
  const before = process.memoryUsage()
  const root = new TreeNode(0)

  function grow(node, below) {
    if (below > nodes / PARTS) endWithParent()
    if (below === 0) return
    node.left = leftOf(below) > 0 ? new TreeNode(below) : null
    if (node.left !== null) grow(node.left, leftOf(below) - 1)
    node.right = new TreeNode(below)
    grow(node.right, rightOf(below) - 1)
  }

  return {
    root,
    grow,
    left: (node) => node.left,
    right: (node) => node.right,
    drop: (node) => {
      node.left = null
      node.right = null
    },
    collect: () => globalThis.gc(),
    memory() {
      const { heapUsed, heapTotal } = process.memoryUsage()
      return { bytes: heapUsed - before.heapUsed, held: heapTotal - before.heapTotal }
    },
    /** The collector's pauses from one time to another, in milliseconds. */
    async pauses(from, to) {
      await setTimeout(100) // the observer is told late
      const during = entries.filter(({ startTime }) => startTime >= from && startTime < to)
      const times = during.map(({ duration }) => duration)
      return { count: times.length, longest: Math.max(0, ...times), total: times.reduce((sum, time) => sum + time, 0) }
    },
  }
}

/** The tree as objects of a GoHeap. */
async function onGo() {
  const { GoHeap } = await import('spanheap/go')
  const [LEFT, RIGHT, VALUE] = [0, 8, 16]
  const cycles = []
  const heap = new GoHeap({
    limitBytes: 2 ** 30,
    onCycle: ({ slices, longestMs, totalMs }) => cycles.push({ end: performance.now(), slices, longestMs, totalMs }),
  })
  const words = new Int32Array(heap.buffer)
  const Node = heap.defineType({ size: 24, pointers: [LEFT, RIGHT] })
  const root = heap.allocate(Node)
  heap.addRoot(root)

  function child(node, field, below) {
    const made = heap.allocate(Node)
    heap.setPointer(node, field, made)
    words[(made + VALUE) >>> 2] = below
    return made
  }

  function grow(node, below) {
    if (below > nodes / PARTS) endWithParent()
    if (below === 0) return
    if (leftOf(below) > 0) grow(child(node, LEFT, below), leftOf(below) - 1)
    grow(child(node, RIGHT, below), rightOf(below) - 1)
  }

  return {
    root,
    grow,
    left: (node) => heap.getPointer(node, LEFT),
    right: (node) => heap.getPointer(node, RIGHT),
    drop: (node) => {
      heap.setPointer(node, LEFT, 0)
      heap.setPointer(node, RIGHT, 0)
    },
    collect: () => heap.collect(),
    memory() {
      const { liveBytes, mappedBytes, pageHeapReleasedBytes, metadataBytes } = heap.stats()
      return { bytes: liveBytes, held: mappedBytes - pageHeapReleasedBytes + metadataBytes }
    },
    async pauses(from, to) {
      const during = cycles.filter(({ end }) => end >= from && end < to)
      return {
        count: during.reduce((sum, { slices }) => sum + slices, 0),
        longest: Math.max(0, ...during.map(({ longestMs }) => longestMs)),
        total: during.reduce((sum, { totalMs }) => sum + totalMs, 0),
      }
    },
  }
}

/** Who started this process may be gone: nobody waits for the figures then. */
function endWithParent() {
  if (process.ppid !== Number(parent)) process.exit(1)
}

/** The same work on either. */
async function play() {
  const tree = side === 'v8' ? onV8() : await onGo()
  const cpu = process.cpuUsage()
  const start = performance.now()
  tree.grow(tree.root, nodes - 1)
  const built = performance.now()

  let state = 1
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
  let subtree = 0
  for (let replaced = 0; replaced < nodes; ) {
    let node = tree.root
    let below = nodes - 1
    while (below > Math.max(2, nodes / PARTS)) {
      const goLeft = random() < 0.5
      node = goLeft ? tree.left(node) : tree.right(node)
      below = (goLeft ? leftOf(below) : rightOf(below)) - 1
    }
    const from = performance.now()
    tree.drop(node)
    tree.grow(node, below)
    subtree = Math.max(subtree, performance.now() - from)
    endWithParent()
    replaced += below
  }
  const end = performance.now()
  const { user, system } = process.cpuUsage(cpu)

  const whole = []
  for (let i = 0; i < 3; i++) {
    const from = performance.now()
    tree.collect()
    whole.push(performance.now() - from)
  }
  const { count, longest, total } = await tree.pauses(start, end)
  console.log(
    JSON.stringify({
      ...tree.memory(),
      build: built - start,
      replace: end - built,
      cpu: (user + system) / 1000,
      subtree,
      count,
      longest,
      total,
      whole: Math.min(...whole),
    })
  )
}

/** Every figure's best of three runs. */
function bestOfThree(name) {
  const path = fileURLToPath(import.meta.url)
  const env = { ...process.env, SAME_GRAPH_SIDE: `${name} ${process.pid}` }
  const runs = [1, 2, 3].map(() =>
    JSON.parse(execFileSync(process.execPath, ['--expose-gc', path, String(nodes)], { env }))
  )
  return Object.fromEntries(Object.keys(runs[0]).map((key) => [key, Math.min(...runs.map((run) => run[key]))]))
}

function main() {
  const sides = [bestOfThree('v8'), bestOfThree('go')]
  const row = (what, value) =>
    console.log(`  ${what.padEnd(48)}${sides.map((figures) => value(figures).padStart(12)).join('')}`)
  const ms = (key) => (figures) => `${figures[key].toFixed(1)} ms`
  console.log(`a tree of ${nodes} nodes, each two pointers and a number; the best of three runs`)
  row('', (figures) => (figures === sides[0] ? 'V8' : 'GoHeap'))
  row('bytes of a node', (figures) => `${figures === sides[0] ? '~' : ''}${(figures.bytes / nodes).toFixed(1)}`)
  row('held in the end', ({ held }) => `~${(held / 2 ** 20).toFixed(1)} MiB`)
  row('built in', ms('build'))
  row('as many nodes replaced in', ms('replace'))
  row('processor time of both, all threads', ms('cpu'))
  row('  pauses of the collector meanwhile', ({ count }) => `~${count}`)
  row('  all of them', ms('total'))
  row('  the longest', ms('longest'))
  row('  the longest time that one subtree took', ms('subtree'))
  row('then all is collected in', ms('whole'))
}

await (side === undefined ? main() : play())
