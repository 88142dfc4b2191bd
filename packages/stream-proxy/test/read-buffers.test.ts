import { expect, test } from 'vitest'
import { forgetBuffer, ownBufferCount, returnBuffer, takeBuffer } from '../src/read-buffers.ts'

test('at most 256 buffers are in use at once', () => {
  const taken: Buffer[] = []
  for (let buffer = takeBuffer(); buffer !== null; buffer = takeBuffer()) taken.push(buffer)
  expect(taken.length).toBe(256)
  expect(new Set(taken).size).toBe(256)
  returnBuffer(taken.pop() as Buffer)
  expect(takeBuffer()).not.toBeNull()
  expect(takeBuffer()).toBeNull()
  forgetBuffer(taken.pop() as Buffer)
  expect(ownBufferCount()).toBe(255)
  while (ownBufferCount() > 0) returnBuffer(taken.pop() ?? Buffer.alloc(0))
})
