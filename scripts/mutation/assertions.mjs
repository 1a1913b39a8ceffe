import assert from 'node:assert/strict'

/** Tests of the files that were loaded, in order. */
export const tests = []

/** Stands for ava where tests run on mutants: what the tests of pure files use of it. */
export default function test(title, run) {
  tests.push({ title, run })
}

function throws(run, expected = {}) {
  try {
    run()
  } catch (error) {
    const { instanceOf, ...rest } = expected
    if (instanceOf !== undefined) assert.ok(error instanceof instanceOf)
    for (const [name, value] of Object.entries(rest)) {
      if (value instanceof RegExp) assert.match(error[name], value)
      else assert.equal(error[name], value)
    }
    return error
  }
  assert.fail('nothing was thrown')
}

function like(actual, selector) {
  for (const [name, expected] of Object.entries(selector)) {
    if (typeof expected === 'object' && expected !== null) like(actual[name], expected)
    else assert.equal(actual[name], expected)
  }
}

/** The assertions, by ava's names. */
export const t = {
  is: (actual, expected, message) => assert.ok(Object.is(actual, expected), message ?? `${actual}, not ${expected}`),
  not: (actual, expected, message) => assert.ok(!Object.is(actual, expected), message),
  true: (actual, message) => assert.equal(actual, true, message),
  false: (actual, message) => assert.equal(actual, false, message),
  deepEqual: assert.deepEqual,
  regex: assert.match,
  notThrows: assert.doesNotThrow,
  pass: () => {},
  fail: assert.fail,
  throws,
  like,
}
