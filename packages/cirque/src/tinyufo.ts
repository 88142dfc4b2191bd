// All of @cirque/tinyufo, under the umbrella's name.
export * from '@cirque/tinyufo'
