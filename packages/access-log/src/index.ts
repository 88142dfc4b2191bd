export {
  AccessLog,
  type AccessLogOptions,
  type AccessLogStats,
  accessLog,
  type FieldLogger,
} from './access-log.ts'
export type { DestinationStats, LogDestination } from './destination.ts'
export { type FileDestinationOptions, fileDestination } from './file-destination.ts'
export { ACCESS_LOG_PRESETS, type AccessLogFormat } from './format.ts'
export { REDACTED_HEADERS_DEFAULT, REDACTED_QUERY_DEFAULT, type Redaction } from './redaction.ts'
export {
  type SyslogDestinationOptions,
  type SyslogFacility,
  type SyslogSeverity,
  syslogDestination,
} from './syslog-destination.ts'
export { ACCESS_LOG_VARIABLES } from './variables.ts'
