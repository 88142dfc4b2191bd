// All of @cirque/memory-cache, under the umbrella's name.
export * from '@cirque/memory-cache'
