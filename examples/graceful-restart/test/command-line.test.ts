import { testCommandLine } from '../../../scripts/test-support/command-line-suite.ts'

testCommandLine({ folder: 'graceful-restart' })
