import test from 'ava'
import { compareResults } from '../../bench/framework/comparison.ts'
import { htmlReport } from '../../bench/framework/html-report.ts'
import { textReport } from '../../bench/framework/text-report.ts'
import { resultOf } from './fake-result.ts'

const result = resultOf([8, 8, 8])
const comparison = compareResults(resultOf([16, 16, 16]), result)

test('the page has all figures, escapes what it is given, and names nothing outside of itself', (t) => {
  const page = htmlReport(result, comparison)
  t.true(page.includes('What is &lt;made up&gt;'))
  t.true(page.includes('Is &quot;this&quot; &amp; that told?'))
  t.false(page.includes('<made up>'))
  t.true(page.includes('no such &lt;library&gt;'))
  t.true(page.includes('<td>4 KiB</td><td>spanheap</td><td>8 ns</td>'))
  t.true(page.includes('<b class="yes">better</b>'))
  t.true(page.includes("default-src 'none'"))
  const [, json] = page.match(/<script type="application\/json" id="result">(.*?)<\/script>/s)!
  t.deepEqual(JSON.parse(json!), JSON.parse(JSON.stringify(result)))
  t.false(/<(script|link|img)[^>]+(src|href)="(?!data:)/.test(page))
  t.is(page.match(/<\/script>/g)!.length, 2)
  t.is(page.match(/<figure /g)!.length, 3)
})

test('the terminal gets tables, failures, claims, and what moved', (t) => {
  const text = textReport(result, comparison)
  for (const part of [
    '4 KiB',
    'jemalloc, 64 B: nothing was measured',
    'as fast as them',
    '0.80',
    'yes',
    '3 of 4 figures',
  ])
    t.true(text.includes(part), part)
  t.false(textReport(result, undefined).includes('moved'))
})
