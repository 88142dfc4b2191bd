// All of @cirque/http, under the umbrella's name.
export * from '@cirque/http'
