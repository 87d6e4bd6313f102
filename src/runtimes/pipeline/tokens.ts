/** A text (or a pair) as the model's tokens, cut to its length as Hugging Face's fast tokenizers cut. */
import { Tokenizer } from '@huggingface/tokenizers';
import type { TextManifest } from './manifest.ts';
import { exactTokenizer } from './tokenizer-json.ts';

export interface TokenRow {
  ids: number[];
  types: number[];
  /** The tokens of the (first) text, without special ones, and where they begin in `ids`. */
  tokens: string[];
  from: number;
}

export class Tokens {
  readonly #tokenizer: Tokenizer;
  readonly #maxLength: number;
  /** What a word-level vocabulary makes of a word that it does not have; the library leaves it to us. */
  readonly #unknown: string | null;
  /** Special tokens that are put around one text, and around a pair. */
  readonly #around: [one: number, pair: number];

  constructor(tokenizer: object, config: object, { maxLength }: Pick<TextManifest, 'maxLength'>) {
    this.#tokenizer = new Tokenizer(exactTokenizer(tokenizer), config);
    this.#maxLength = maxLength;
    const { model } = tokenizer as { model?: { type?: string; unk_token?: string } };
    this.#unknown = model?.type === 'WordLevel' ? (model.unk_token ?? null) : null;
    this.#around = [this.#finish([], null).tokens.length, this.#finish([], []).tokens.length];
  }

  one(text: string): TokenRow {
    const tokens = this.#split(text, this.#maxLength - this.#around[0]);
    return this.#row(tokens, null);
  }

  pair(first: string, second: string): TokenRow {
    const room = Math.max(0, this.#maxLength - this.#around[1]);
    const a = this.#split(first, Number.POSITIVE_INFINITY);
    const b = this.#split(second, Number.POSITIVE_INFINITY);
    const [keepA, keepB] = cutLongestFirst(a.length, b.length, room);
    return this.#row(a.slice(0, keepA), b.slice(0, keepB));
  }

  /** What the model means by a token in an answer. */
  get tokenizer(): Tokenizer {
    return this.#tokenizer;
  }

  #split(text: string, most: number): string[] {
    const found: string[] = this.#tokenizer.tokenize(text, { add_special_tokens: false });
    const unknown = this.#unknown;
    const known = (token: string) => this.#tokenizer.token_to_id(token) !== undefined;
    const tokens = unknown === null ? found : found.map((token) => (known(token) ? token : unknown));
    return tokens.length > most ? tokens.slice(0, Math.max(0, most)) : tokens;
  }

  #row(a: string[], b: string[] | null): TokenRow {
    const { tokens, token_type_ids: types } = this.#finish(a, b);
    const tokenizer = this.#tokenizer;
    const added = this.#added;
    const unknown = tokenizer.model?.unk_token_id ?? 0;
    const ids = tokens.map((token): number => added.get(token) ?? tokenizer.token_to_id(token) ?? unknown);
    return {
      ids,
      types: types ?? ids.map(() => 0),
      tokens: a,
      from: a.length === 0 ? 0 : indexOfRun(tokens, a),
    };
  }

  get #added(): Map<string, number> {
    let known = addedIds.get(this.#tokenizer);
    if (!known) {
      known = new Map(
        [...this.#tokenizer.get_added_tokens_decoder()].map(([id, { content }]) => [content, id]),
      );
      addedIds.set(this.#tokenizer, known);
    }
    return known;
  }

  #finish(a: string[], b: string[] | null): Finished {
    const { post_processor: finish } = this.#tokenizer;
    // An empty second text is still a second text.
    return finish ? finish._call(a, b, true) : { tokens: b === null ? a : [...a, ...b] };
  }
}

interface Finished {
  tokens: string[];
  token_type_ids?: number[];
}

const addedIds = new WeakMap<Tokenizer, Map<string, number>>();

/** One token at a time is taken from the longer text, from the second when they are equal. */
function cutLongestFirst(a: number, b: number, room: number): [number, number] {
  if (a + b <= room) return [a, b];
  const short = Math.min(a, b);
  const half = Math.floor(room / 2);
  // While the longer one still is longer only it is cut; then both in turn.
  const kept: [number, number] = short < half ? [short, room - short] : [half, room - half];
  return a <= b ? kept : [kept[1], kept[0]];
}

/** Where `run` begins in `tokens`: special tokens come before it. */
function indexOfRun(tokens: readonly string[], run: readonly string[]): number {
  for (let at = 0; at + run.length <= tokens.length; at++) {
    if (run.every((token, index) => tokens[at + index] === token)) return at;
  }
  return 0;
}
