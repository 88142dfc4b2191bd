import { testPages } from '../../../scripts/test-support/pages-suite.ts'

testPages(new URL('../', import.meta.url), ['README.md', 'access-log.md'])
