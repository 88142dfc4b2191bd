// All of @cirque/limits, under the umbrella's name.
export * from '@cirque/limits'
