import { afterAll, beforeAll, expect } from 'vitest'

/** Lets a test file fail when anything in it ends in an unhandled rejection or an uncaught exception. */
export function expectNoProcessFaults(): void {
  const faults: unknown[] = []
  const note = (error: unknown) => void faults.push(error)
  beforeAll(() => {
    process.on('unhandledRejection', note).on('uncaughtException', note)
  })
  afterAll(() => {
    process.off('unhandledRejection', note).off('uncaughtException', note)
    expect(faults).toEqual([])
  })
}
