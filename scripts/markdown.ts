/** A link of a Markdown page: where it points, and the line it stands on, counted from 1. */
export interface Link {
  target: string
  line: number
}

/** Blanks out fenced blocks and code spans, so that what looks like a link in code is none. Lines stay. */
function withoutCode(text: string): string {
  let fence = ''
  return text
    .split('\n')
    .map((line) => {
      const mark = /^\s*(```+|~~~+)/.exec(line)?.[1] ?? ''
      if (fence === '' && mark !== '') fence = mark
      else if (fence !== '' && mark.startsWith(fence)) fence = ''
      else if (fence === '') return line.replace(/(`+)(?!`).*?\1(?!`)/g, '')
      return ''
    })
    .join('\n')
}

/** Every link and image of a page: inline, and reference definitions. */
export function linksOf(text: string): Link[] {
  const links: Link[] = []
  withoutCode(text)
    .split('\n')
    .forEach((content, index) => {
      for (const match of content.matchAll(/\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)/g)) {
        links.push({ target: match[1] as string, line: index + 1 })
      }
      const definition = /^\s*\[[^\]]+\]:\s*<?([^\s>]+)>?/.exec(content)
      if (definition !== null) links.push({ target: definition[1] as string, line: index + 1 })
    })
  return links
}

/** The anchors that GitHub gives to a page's headings. */
export function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>()
  let fence = ''
  for (const line of text.split('\n')) {
    const mark = /^\s*(```+|~~~+)/.exec(line)?.[1] ?? ''
    if (mark !== '') fence = fence === '' ? mark : mark.startsWith(fence) ? '' : fence
    const heading = fence === '' ? /^#{1,6}\s+(.+?)\s*#*$/.exec(line)?.[1] : undefined
    if (heading !== undefined) {
      const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      const slug = plain
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .replace(/\s/g, '-')
      let unique = slug
      for (let count = 1; anchors.has(unique); count += 1) unique = `${slug}-${count}`
      anchors.add(unique)
    }
    for (const match of line.matchAll(/<a\s+(?:id|name)="([^"]+)"/g)) anchors.add(match[1] as string)
  }
  return anchors
}
