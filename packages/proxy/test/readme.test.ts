import { testPages } from '../../../scripts/test-support/pages-suite.ts'

testPages(new URL('../', import.meta.url), [
  'README.md',
  'phases.md',
  'ctx.md',
  'proxy-session.md',
  'body.md',
  'retries.md',
  'forwarding.md',
  'observability.md',
  'modules.md',
  'compression.md',
  'upgrade.md',
])
