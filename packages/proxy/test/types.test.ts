import type { HttpPeer } from '@cirque/core'
import type { RequestHeader, ResponseHeader } from '@cirque/http'
import { expectTypeOf, test } from 'vitest'
import type { HttpProxyService, httpProxyService, ProxyHttp, Session } from '../src/index.ts'

interface Ctx {
  user: string
}

/** Calls of a function that is never run: only its types count. */
declare const service: typeof httpProxyService
const peer = undefined as unknown as HttpPeer

test('the context of newCtx has its type in every phase', () => {
  const app: ProxyHttp<Ctx> = {
    newCtx: () => ({ user: 'a' }),
    upstreamPeer(session, ctx) {
      expectTypeOf(session).toEqualTypeOf<Session>()
      expectTypeOf(ctx).toEqualTypeOf<Ctx>()
      return peer
    },
    async requestFilter(_session, ctx) {
      expectTypeOf(ctx).toEqualTypeOf<Ctx>()
    },
    upstreamRequestFilter(_session, request, ctx) {
      expectTypeOf(request).toEqualTypeOf<RequestHeader>()
      expectTypeOf(ctx).toEqualTypeOf<Ctx>()
    },
    async responseFilter(_session, response, ctx) {
      expectTypeOf(response).toEqualTypeOf<ResponseHeader>()
      expectTypeOf(ctx).toEqualTypeOf<Ctx>()
    },
    responseBodyFilter(_session, chunk, endOfStream, ctx) {
      expectTypeOf(chunk).toEqualTypeOf<Buffer | null>()
      expectTypeOf(endOfStream).toEqualTypeOf<boolean>()
      expectTypeOf(ctx).toEqualTypeOf<Ctx>()
      return null
    },
    logging(_session, _error, ctx) {
      expectTypeOf(ctx).toEqualTypeOf<Ctx>()
    },
  }
  expectTypeOf(app).toExtend<ProxyHttp<Ctx>>()
})

test('the context’s type is inferred from an object or a class, and is undefined without newCtx', () => {
  const use = () => {
    const typed = service({} as never, { newCtx: (): Ctx => ({ user: 'a' }), upstreamPeer: () => peer })
    expectTypeOf(typed).toEqualTypeOf<HttpProxyService<Ctx>>()
    class App implements ProxyHttp<Ctx> {
      newCtx(): Ctx {
        return { user: 'a' }
      }
      upstreamPeer(_session: Session, ctx: Ctx): HttpPeer {
        expectTypeOf(ctx.user).toEqualTypeOf<string>()
        return peer
      }
    }
    expectTypeOf(service({} as never, new App())).toEqualTypeOf<HttpProxyService<Ctx>>()
  }
  expectTypeOf(use).toBeFunction()
  expectTypeOf<Parameters<NonNullable<ProxyHttp['requestFilter']>>[1]>().toEqualTypeOf<undefined>()
})

test('wrong hooks do not compile', () => {
  // @ts-expect-error: upstreamPeer is required
  const none: ProxyHttp = {}
  // @ts-expect-error: a peer is no text
  const text: ProxyHttp = { upstreamPeer: () => '127.0.0.1:80' }
  const body: ProxyHttp = {
    upstreamPeer: () => peer,
    // @ts-expect-error: a chunk is a Buffer
    responseBodyFilter: () => 'text',
  }
  // @ts-expect-error: errorWhileProxy answers at once
  const late: ProxyHttp = { upstreamPeer: () => peer, errorWhileProxy: async () => undefined }
  expectTypeOf([none, text, body, late]).toBeArray()
})
