import { TLS_ATTACKS } from './support/attacks-tls.ts'
import { exhaustionSuite } from './support/exhaustion-suite.ts'

exhaustionSuite(TLS_ATTACKS)
