// All of @cirque/error, under the umbrella's name.
export * from '@cirque/error'
