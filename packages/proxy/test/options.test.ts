import {
  Connector,
  createConfiguration,
  DnsCache,
  HttpPeer,
  responseCompression,
  serveHttp,
} from '@cirque/core'
import { expect, test } from 'vitest'
import { httpProxyService } from '../src/index.ts'

const configuration = createConfiguration()
const app = { upstreamPeer: () => new HttpPeer('127.0.0.1:1') }

/** Whoever takes options, and would find no fault with the keys of a number. */
const TAKERS: Record<string, (options: never) => unknown> = {
  httpProxyService: (options) => httpProxyService(configuration, app, options),
  'its forwarding': (forwarding) => httpProxyService(configuration, app, { forwarding }),
  'its server': (server) => httpProxyService(configuration, app, { server }),
  'its connector': (connector) => httpProxyService(configuration, app, { connector }),
  serveHttp: (options) => serveHttp(() => undefined, options),
  Connector: (options) => new Connector(options),
  DnsCache: (options) => new DnsCache(options),
  HttpPeer: (options) => new HttpPeer('127.0.0.1:1', options),
  responseCompression: (options) => responseCompression(options),
  createConfiguration: (options) => createConfiguration(options),
}

test.each(Object.entries(TAKERS))('%s says that options are none', (_name, take) => {
  for (const options of [null, 5, '', [], () => undefined, true]) {
    expect(() => take(options as never), String(options)).toThrow(
      /^Expected the options of .* to be an object/,
    )
  }
})
