import { HTTP2_ATTACKS } from './support/attacks-http2.ts'
import { exhaustionSuite } from './support/exhaustion-suite.ts'

exhaustionSuite(HTTP2_ATTACKS)
