import { expect, test } from 'vitest'
import { testCommandLine } from '../../../scripts/test-support/command-line-suite.ts'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'
import { TestUpstream } from '../../../scripts/test-support/test-upstream.ts'

testCommandLine({
  folder: 'load-balancer',
  mistakes: [
    [['--ba', '127.0.0.1:0', '--upstream', 'nonsense'], /"nonsense": the port is missing/],
    [['--ba', '127.0.0.1:0', '--upstream', '127.0.0.1:1', '--upstream', '127.0.0.1:1'], /listed twice/],
    [['--ba', '127.0.0.1:0', '--switch', 'soon'], /--switch must be a number .*, not "soon"/],
    [['--ba', '127.0.0.1:0', '--switch', '3601'], /--switch must be a number .*, not "3601"/],
  ],
})

test('a port in use is named, and the exit status is 1', async () => {
  await using holder = await TestUpstream.saying('mine')
  await using program = new ExampleProcess('load-balancer', ['--ba', holder.address])
  const { status, stderr } = await program.ended
  expect(stderr).toContain(`Cannot listen on ${holder.address}`)
  expect(stderr).toContain('the address is in use')
  expect(status).toBe(1)
})
