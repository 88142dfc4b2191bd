/** Decides about a connection before TLS and before any byte of it is sent to the app, after a PROXY header. */
export interface ConnectionFilter {
  /**
   * Called once per accepted connection, synchronously with the accept. Return false to reset it.
   *
   * A promise is waited for at most `connectionFilterTimeoutMs`, then the connection is refused; meanwhile
   * it counts as open, and at most one read-ahead buffer is taken from it. A throw or rejection refuses.
   *
   * @param remoteAddress - The client's IP, taken from the PROXY protocol header if there was one; `undefined` on a
   *   Unix socket.
   */
  shouldAccept(remoteAddress: string | undefined): boolean | Promise<boolean>
}
