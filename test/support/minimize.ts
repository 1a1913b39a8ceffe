/**
 * Makes a failing list short by leaving out ever smaller parts of it (delta debugging). fast-check's own shrinking of an
 * array replays far more of it: minutes for a list of thousands.
 * @param failure the index at which a list fails, or -1 where it doesn't; `list.length` where it fails behind its end
 */
export async function minimize<T>(list: readonly T[], failure: (list: readonly T[]) => Promise<number>): Promise<T[]> {
  let smallest = list.slice(0, (await failure(list)) + 1)
  for (let part = Math.ceil(smallest.length / 2); ; part = Math.ceil(part / 2)) {
    for (let from = smallest.length - part; from > -part; from -= part) {
      const without = smallest.filter((_, index) => index < from || index >= from + part)
      const failed = await failure(without)
      if (failed >= 0) smallest = without.slice(0, failed + 1)
    }
    if (part <= 1) return smallest
  }
}
