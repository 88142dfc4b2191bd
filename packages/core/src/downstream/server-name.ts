/** What the `Server` field can carry as it is, for messages. */
export const SERVER_NAME_RULE: string = 'printable ASCII of at most 128 characters, without spaces around it'

/** True for what {@link SERVER_NAME_RULE} says; empty for no such field. */
export function isServerName(value: unknown): value is string {
  return typeof value === 'string' && /^(?:[!-~](?:[ -~]{0,126}[!-~])?)?$/.test(value)
}
