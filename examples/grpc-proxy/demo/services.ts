// Two greeters, for the proxy to balance: node examples/grpc-proxy/demo/services.ts
import { startGreeter } from './greeter.ts'

for (const address of ['127.0.0.1:7001', '127.0.0.1:7002']) {
  await startGreeter(address, address)
  console.log(`A greeter listens on ${address}`)
}
