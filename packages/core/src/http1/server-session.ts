import { ProxyError } from '@cirque/error'
import type { ResponseHeader } from '@cirque/http'
import {
  COMPLETE,
  CUT,
  ENDED,
  FAILED,
  TUNNEL,
  TUNNEL_ENDED,
  TUNNELLED,
  UNTIL_END,
  UNWRITTEN,
} from '../sessions/session-states.ts'
import { unframedFieldsText } from './head-writer.ts'
import { Http1ServerResponse } from './server-response.ts'

/** One HTTP/1 request and its response: how it becomes a tunnel, and how it ends. */
export class Http1ServerSession extends Http1ServerResponse {
  protected writeSwitching(header: ResponseHeader): void {
    if (!this.isUpgrade || this.requestState === FAILED) {
      this.fail(new ProxyError('INTERNAL_ERROR', 'internal', 'A 101 to a request that waits for none'), true)
      return
    }
    if (!this.becomeResponse(TUNNEL) || !this.becomeRequest(TUNNELLED)) return
    this.keepAlive = false
    // RFC 9110 §9.3.6: any 2xx opens the tunnel that CONNECT asks for.
    const { connectWanted } = this
    const line = connectWanted
      ? 'HTTP/1.1 200 Connection Established\r\n'
      : `HTTP/1.1 101 ${header.reason || 'Switching Protocols'}\r\n`
    // In the answer to CONNECT `Upgrade` would say nothing.
    const text = line + unframedFieldsText(header, !connectWanted)
    this.text += connectWanted ? `${text}\r\n` : `${text}Connection: upgrade\r\n\r\n`
    if (connectWanted) this.responseStatus = 200
    this.connection.startTunnel()
    // What the client sent ahead is held; it flows when the handler asks for it.
    this.flowing = false
  }

  /** Hands all of `[at, end)` on. */
  feedTunnel(chunk: Buffer, at: number, end: number): number {
    this.requestBodyBytes += end - at
    this.handOn(chunk, at, end)
    return end
  }

  /** The client has ended its side of the tunnel. */
  tunnelEnded(): void {
    if (!this.closed) this.runs?.pass()
    if (this.closed || this.requestEnded || !this.becomeRequest(ENDED)) return
    this.handler?.onRequestEnd(null)
    if (this.responseState === TUNNEL_ENDED) this.finishTunnel()
  }

  protected endTunnelWrites(): void {
    this.flushText()
    this.connection.socket.end()
    if (this.requestEnded) this.finishTunnel()
    else this.becomeResponse(TUNNEL_ENDED)
  }

  private finishTunnel(): void {
    if (this.becomeResponse(COMPLETE)) this.connection.endTunnel()
  }

  // --- the end ---------------------------------------------------------------------------------

  protected ended(): void {
    this.connection.sessionEnded(this, this.keepAlive)
  }

  /**
   * The client broke the exchange. `dead` says that its connection is of no use any more; otherwise a
   * response may still be written, after which the connection closes.
   */
  fail(error: ProxyError, dead: boolean): void {
    if (this.closed) return
    const known = this.requestState === FAILED
    // Whatever it was: a question here could only keep it going.
    this.requestState = FAILED
    this.keepAlive = false
    this.flowing = false
    // An exchange whose response has begun cannot be answered any more: it ends here.
    if (dead || this.responseState !== UNWRITTEN) {
      this.responseState = CUT
      this.text = ''
      this.connection.destroy(error)
    }
    if (!known) this.handler?.onDownstreamAbort(error)
  }

  breakOff(error: ProxyError): void {
    this.connection.owner.onBroken()
    // Its connection may carry another exchange by now: nobody can say whose bytes come next.
    if (this.closed) this.connection.destroy(error)
    else this.fail(error, false)
  }

  destroy(error?: ProxyError): void {
    if (this.closed) return
    // Where the end of the connection is the end of the data, only a reset tells a cut from a whole.
    const open = this.responseState === UNTIL_END || this.responseState === TUNNEL
    this.responseState = CUT
    this.text = ''
    this.connection.destroy(error, open)
  }
}
