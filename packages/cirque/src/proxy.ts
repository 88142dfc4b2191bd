// All of @cirque/proxy, under the umbrella's name.
export * from '@cirque/proxy'
