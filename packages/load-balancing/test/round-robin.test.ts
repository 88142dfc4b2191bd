import { LoadBalancer, roundRobin } from '@cirque/load-balancing'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { addresses, shares, weighted } from './helpers.ts'

const letters = (balancer: LoadBalancer, count: number) =>
  Array.from(
    { length: count },
    () => 'abcdefgh'[Number(balancer.select()?.address.split('.')[3]?.split(':')[0])],
  ).join('')

test('equal weights take turns in the order of the set', () => {
  expect(letters(LoadBalancer.fromAddresses(addresses(3), roundRobin()), 7)).toBe('abcabca')
})

test('a heavy backend’s turns are spread between the others', () => {
  expect(letters(LoadBalancer.fromBackends(weighted([5, 1, 1]), roundRobin()), 14)).toBe('abaaacaabaaaca')
})

test('while one is out, the others share its turns by weight, and it comes back without a burst', () => {
  const balancer = LoadBalancer.fromBackends(weighted([5, 2, 1]), roundRobin())
  letters(balancer, 5)
  balancer.setEnabled('10.0.0.0:80', false)
  const without = shares(balancer, 3_000)
  expect(without.get('10.0.0.1:80')).toBeGreaterThan(1_990)
  expect(without.get('10.0.0.2:80')).toBeGreaterThan(990)
  balancer.setEnabled('10.0.0.0:80', true)
  const first16 = letters(balancer, 16)
  expect(first16.split('a').length - 1).toBeGreaterThanOrEqual(9)
  expect(first16.split('a').length - 1).toBeLessThanOrEqual(11)
})

test('after any number of turns each backend has had its share, give or take one and a half', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 1_000 }), { minLength: 1, maxLength: 20 }),
      fc.integer({ min: 1, max: 3_000 }),
      (weights, turns) => {
        const balancer = LoadBalancer.fromBackends(weighted(weights), roundRobin())
        const counts = shares(balancer, turns)
        const total = weights.reduce((sum, weight) => sum + weight, 0)
        // The number of due times up to a moment is off by at most one for each backend; the sum of the others'
        // errors moves the moment.
        const slack = 1.5 + (weights.length * Math.max(...weights)) / total
        for (const { address, weight } of balancer.backends) {
          expect(Math.abs((counts.get(address) ?? 0) - (turns * weight) / total)).toBeLessThanOrEqual(slack)
        }
      },
    ),
    { numRuns: 60 },
  )
})

test('many turns later, across the point where times are moved back, the shares still hold', () => {
  const balancer = LoadBalancer.fromBackends(weighted([1, 1, 2]), roundRobin())
  // 4 turns are one unit of time; the times are moved back after 2^20 of them.
  for (let turn = 0; turn < 2 ** 22 + 100; turn++) balancer.select()
  const counts = shares(balancer, 4_000)
  expect([...counts.values()].sort((a, b) => a - b)).toEqual([1_000, 1_000, 2_000])
})

test('each new set starts at another backend', async () => {
  let set = addresses(4)
  const balancer = new LoadBalancer(() => set, roundRobin())
  const firsts = new Set<string | undefined>()
  for (let round = 0; round < 8; round++) {
    set = [...addresses(4), `192.0.2.${round}:80`]
    await balancer.update()
    firsts.add(balancer.select()?.address)
  }
  expect(firsts.size).toBeGreaterThan(2)
})
