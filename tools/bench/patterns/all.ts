import { allocTest } from './alloc-test.ts'
import { cacheScratch, cacheThrash } from './cache-lines.ts'
import { glibcSimple } from './glibc-simple.ts'
import { larson } from './larson.ts'
import { mallocLarge } from './malloc-large.ts'
import { mstress } from './mstress.ts'
import type { Pattern } from './pattern.ts'
import { control, pair, replace } from './plain.ts'
import { rptest } from './rptest.ts'
import { sh6bench, sh8bench } from './sh-bench.ts'
import { xmalloc } from './xmalloc.ts'

/** What a {@link Crew} can be told to play, by name. */
export const PATTERNS: Readonly<Record<string, Pattern>> = {
  pair,
  replace,
  control,
  larson,
  mstress,
  rptest,
  'xmalloc-test': xmalloc,
  sh6bench,
  sh8bench,
  'alloc-test': allocTest,
  'cache-scratch': cacheScratch,
  'cache-thrash': cacheThrash,
  'glibc-simple': glibcSimple,
  'malloc-large': mallocLarge,
}
