import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { expect, test } from 'vitest'
import { type HealthMessage, LoadBalancer, roundRobin } from '../src/index.ts'

test('the channel cirque:health tells what happens to the backends of every balancer', () => {
  const heard: string[] = []
  const listener = (message: unknown) => {
    const { balancer, event } = message as HealthMessage
    heard.push(`${balancer}: ${event.type}`)
  }
  const outlier = { consecutiveFailure: 1 }
  const balancers = ['one', 'two'].map((name) =>
    LoadBalancer.fromAddresses(['127.0.0.1:1', '127.0.0.1:2'], roundRobin(), { name, outlier }),
  )
  subscribe('cirque:health', listener)
  for (const balancer of balancers) balancer.acquire()?.release({ ok: false, source: 'upstream' })
  unsubscribe('cirque:health', listener)
  expect(heard).toEqual(['one: ejected', 'two: ejected'])
  for (const balancer of balancers) balancer.close()
})
