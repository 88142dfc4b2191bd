import { connect } from 'node:tls'
import { HttpPeer } from '@cirque/core'
import { expect, test } from 'vitest'
import { AS_LOCALHOST, CERTIFICATE } from '../../proxy/test/support/certificate.ts'
import { startProxy } from '../../proxy/test/support/proxy.ts'
import { accessLog } from '../src/index.ts'
import { Lines } from './support/lines.ts'

test('the facts of TLS are those of the client’s connection, and dashes without', async () => {
  const destination = new Lines()
  const format = '$scheme $ssl_protocol $ssl_cipher $ssl_curve $ssl_server_name $ssl_session_reused'
  const observers = [accessLog({ destination, format })]
  const app = { upstreamPeer: () => new HttpPeer(undefined) }
  await using secure = await startProxy(app, { observers }, CERTIFICATE)
  await using plain = await startProxy(app, { observers })
  for (const ecdhCurve of ['X25519MLKEM768', 'P-256']) {
    const socket = connect({ port: secure.port, host: '127.0.0.1', ecdhCurve, ...AS_LOCALHOST })
    socket.on('error', () => undefined)
    socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    await new Promise((resolve) => socket.resume().once('close', resolve))
  }
  await fetch(`http://127.0.0.1:${plain.port}/`)
  await plain.idle()
  expect(destination.lines).toEqual([
    'https TLSv1.3 TLS_AES_256_GCM_SHA384 X25519MLKEM768 localhost .',
    'https TLSv1.3 TLS_AES_256_GCM_SHA384 prime256v1 localhost .',
    'http - - - - -',
  ])
})
