/** Whether a package that only the benchmark needs is installed. */
export function packageIsThere(name: string): boolean {
  try {
    import.meta.resolve(name)
    return true
  } catch {
    console.warn(`${name} isn't installed: it is left out`)
    return false
  }
}
