// All of @cirque/load-balancing, under the umbrella's name.
export * from '@cirque/load-balancing'
