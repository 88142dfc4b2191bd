import { HTTP1_ATTACKS } from './support/attacks-http1.ts'
import { exhaustionSuite } from './support/exhaustion-suite.ts'

exhaustionSuite(HTTP1_ATTACKS)
