// All of @cirque/core, under the umbrella's name.
export * from '@cirque/core'
