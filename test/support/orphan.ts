import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import { ROOT } from './child.ts'

/** Whether a process runs: one that nobody waits for is not gone, but has ended. */
function runs(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/** Runs a script in Node, kills it once it has a child, and checks that the child ends too. */
export async function endsWithParent(t: ExecutionContext, args: readonly string[]): Promise<void> {
  const parent = spawn(process.execPath, args, { cwd: ROOT, stdio: 'ignore' })
  let child = 0
  for (let i = 0; i < 500 && child === 0; i++) {
    await sleep(20)
    child = Number.parseInt(readFileSync(`/proc/${parent.pid}/task/${parent.pid}/children`, 'utf8'), 10) || 0
  }
  t.not(child, 0)
  parent.kill('SIGKILL')
  const start = performance.now()
  while (runs(child) && performance.now() - start < 5000) await sleep(20)
  const isLeft = runs(child)
  if (isLeft) process.kill(child, 'SIGKILL')
  t.false(isLeft)
}
