import { CollectionCounter } from '../../tools/bench/framework/collections.ts'

/** How many garbage collections something brings on in this thread; steps of marking and callbacks of what was weak count too. */
export async function collectionsDuring(work: () => void): Promise<number> {
  const counter = new CollectionCounter()
  work()
  return Object.values(await counter.end()).reduce((sum, { count }) => sum + count, 0)
}
