/** How often a function of Atomics is called while something runs. */
export async function callsOf(name: 'load' | 'waitAsync', run: () => unknown): Promise<number> {
  const call = Atomics[name] as (...args: unknown[]) => unknown
  let calls = 0
  const counted = (...args: unknown[]) => {
    calls++
    return call.apply(Atomics, args)
  }
  Object.assign(Atomics, { [name]: counted })
  try {
    await run()
  } finally {
    Object.assign(Atomics, { [name]: call })
  }
  return calls
}
