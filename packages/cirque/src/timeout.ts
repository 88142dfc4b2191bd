// All of @cirque/timeout, under the umbrella's name.
export * from '@cirque/timeout'
