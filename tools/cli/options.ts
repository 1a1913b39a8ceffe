import { InvalidArgumentError, Option } from 'commander'

/** Reads a number of an option. @throws InvalidArgumentError */
export function positiveInteger(value: string): number {
  const number = Number(value)
  if (!Number.isSafeInteger(number) || number < 1)
    throw new InvalidArgumentError('It must be a whole number from 1 on.')
  return number
}

/** The rounds of a replay. @param count the default */
export const rounds = (count: number) =>
  new Option('--rounds <n>', 'rounds; the best one counts').argParser(positiveInteger).default(count)

/** How much of a trace is replayed. */
export const events = () => new Option('--events <n>', 'only the first N events').argParser(positiveInteger)

/** Whether a replay writes to its blocks. */
export const touch = () => new Option('--touch', 'write one byte in every 64 of each block').default(false)
