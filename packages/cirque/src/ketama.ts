// All of @cirque/ketama, under the umbrella's name.
export * from '@cirque/ketama'
