// All of @cirque/pool, under the umbrella's name.
export * from '@cirque/pool'
