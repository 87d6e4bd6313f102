/** A tokenizer.json, reworded where the JavaScript library reads it otherwise than the original does. */
interface PreTokenizer {
  type?: string;
  pretokenizers?: PreTokenizer[];
  [field: string]: unknown;
}

/** What Rust's regular expressions take for a letter of a word; JavaScript's only know ASCII. */
const word = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200c\\u200d';

export function exactTokenizer(tokenizer: object): object {
  const { pre_tokenizer: before } = tokenizer as { pre_tokenizer?: PreTokenizer | null };
  return before ? { ...tokenizer, pre_tokenizer: exact(before) } : tokenizer;
}

function exact(before: PreTokenizer): PreTokenizer {
  if (before.type === 'Sequence')
    return { ...before, pretokenizers: (before.pretokenizers ?? []).map(exact) };
  if (before.type !== 'Whitespace') return before;
  return {
    type: 'Split',
    pattern: { Regex: `[${word}]+|[^${word}\\s]+` },
    behavior: 'Removed',
    invert: true,
  };
}
