export {
  ADDRESS_CACHE_ENTRIES_MAX,
  type Address,
  type ParseAddressOptions,
  parseAddress,
  type TcpAddress,
  type UnixAddress,
} from './address.ts'
export type { ServerConfiguration } from './configuration.ts'
export {
  type LogFields,
  type Logger,
  type LogLevel,
  type StderrLoggerOptions,
  silentLogger,
  stderrLogger,
} from './logger.ts'
export {
  type BackgroundService,
  type BackgroundTask,
  backgroundService,
  type ConnectionInfo,
  type ServerApp,
  type Service,
  type ServiceContext,
} from './service.ts'
