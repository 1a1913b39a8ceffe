// A pool and its timer. Ends by itself, or never.
import { setTimeout } from 'node:timers/promises'
import { BufferPool } from '../../lib/index.ts'

const ends = process.argv[2] === 'ends'
const pool = new BufferPool({ size: 1000, trimMs: ends ? 60_000 : 5, min: 2, leaks: 'off' })
const buffers = Array.from({ length: ends ? 1 : 50 }, () => pool.acquire())
for (const buffer of buffers) pool.release(buffer)
for (let round = 0; !ends && round < 1000 && pool.stats().idle > 2; round++) await setTimeout(5)
if (!ends) for (let round = 0; round < 5; round++) await setTimeout(5)
process.stdout.write(JSON.stringify({ idle: pool.stats().idle }))
