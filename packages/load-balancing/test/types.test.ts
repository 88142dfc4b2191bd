import {
  type Backend,
  type BalancerEvent,
  type Lease,
  LoadBalancer,
  type Refusal,
  roundRobin,
  type Selection,
} from '@cirque/load-balancing'
import { expect, expectTypeOf, test } from 'vitest'

test('a choice may be missing, and a refusal is told by typeof', async () => {
  const balancer = LoadBalancer.fromAddresses(['10.0.0.1:80'], roundRobin())
  expectTypeOf(balancer.select()).toEqualTypeOf<Backend | undefined>()
  const lease = await balancer.acquireOrWait()
  expectTypeOf(lease).toEqualTypeOf<Lease | Refusal>()
  if (typeof lease === 'string') expectTypeOf(lease).toEqualTypeOf<Refusal>()
  else expectTypeOf(lease).toEqualTypeOf<Lease>()
})

test('events are told apart by type', () => {
  const describe = (event: BalancerEvent) => (event.type === 'ejected' ? event.ejectionMs : 0)
  expect(describe({ type: 'update-failed', error: undefined })).toBe(0)
})

test('a selection of your own is a name and a build function', () => {
  const first: Selection = { name: 'first', build: () => ({ begin: () => 0, next: () => -1 }) }
  const balancer = LoadBalancer.fromAddresses(['10.0.0.2:80', '10.0.0.1:80'], first)
  expect(balancer.select()?.address).toBe('10.0.0.1:80')
  balancer.setEnabled('10.0.0.1:80', false)
  expect(balancer.select()?.address).toBe('10.0.0.2:80')
})

test('a picker that counts wrong costs its own choice, not the request', () => {
  for (const index of [7, 0.5, Number.NaN, -3]) {
    const wrong: Selection = { name: 'wrong', build: () => ({ begin: () => index, next: () => index }) }
    const balancer = LoadBalancer.fromAddresses(['10.0.0.1:80', '10.0.0.2:80'], wrong)
    expect(balancer.select()).toBeDefined()
  }
})
