/** A piece of a template. */
export interface Piece {
  readonly text: string
  /** The variable that follows the text; undefined at the end. */
  readonly variable: string | undefined
}

const VARIABLE = /\$(?:\{([^}]*)\}|(\w+)|(\$)|)/g

/** @throws {TypeError} For a `$` without a name. */
export function parse(template: string): Piece[] {
  const pieces: Piece[] = []
  let text = ''
  let at = 0
  for (const match of template.matchAll(VARIABLE)) {
    text += template.slice(at, match.index)
    at = match.index + match[0].length
    const variable = match[1] ?? match[2]
    if (match[3] !== undefined) text += '$'
    else if (variable === undefined || variable === '') {
      throw new TypeError(
        `A "$" without a name in the template "${template}"; write "$$" for the sign itself`,
      )
    } else {
      pieces.push({ text, variable })
      text = ''
    }
  }
  pieces.push({ text: text + template.slice(at), variable: undefined })
  return pieces
}

/** A longer text ends in `...`. */
export function cut(text: string, charactersMax: number): string {
  return text.length > charactersMax ? `${text.slice(0, charactersMax)}...` : text
}
