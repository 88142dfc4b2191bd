// Four calls over one connection: node examples/grpc-proxy/demo/call.ts [address]
import { greeterClient } from './greeter.ts'

const client = greeterClient(process.argv[2] ?? '127.0.0.1:6188')
for (let i = 0; i < 4; i++) {
  const { text } = await new Promise<{ text: string }>((resolve, reject) =>
    client.greet({ name: 'you' }, (error, value) =>
      error === null && value !== undefined ? resolve(value) : reject(error),
    ),
  )
  console.log(text)
}
client.close()
