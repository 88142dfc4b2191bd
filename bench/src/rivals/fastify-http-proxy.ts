// @fastify/http-proxy with its defaults: undici carries the requests, logging is off.
import proxy from '@fastify/http-proxy'
import { fastify } from 'fastify'

const [port, origin] = process.argv.slice(2)
const app = fastify({ logger: false, keepAliveTimeout: 75_000 })
await app.register(proxy, { upstream: `http://127.0.0.1:${origin}` })
await app.listen({ port: Number(port), host: '127.0.0.1', backlog: 4096 })
