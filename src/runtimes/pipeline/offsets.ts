/**
 * Where in the text each token came from, in Unicode code points (as Python counts). The tokenizer does not say, so text
 * and tokens are laid side by side as UTF-8 bytes, normalised, without the blanks: a token is the next bytes of the text.
 */
import type { Tokenizer } from '@huggingface/tokenizers';

export interface Span {
  start: number;
  end: number;
}

/** A character with its combining marks, normalised by itself. */
interface Piece extends Span {
  bytes: Uint8Array;
  /** A new word may begin here: a blank came before, or it is punctuation, or follows some. */
  boundary: boolean;
}

const encoder = new TextEncoder();
/** Blanks, and what stands for one in SentencePiece. */
const blank = /[\s\u2581]+/gu;
const punctuation = /^[\p{P}$+<=>^`|~]/u;

/** One span for each token; of a token that is nowhere in the text, an empty one where it would be. */
export function spansOf(text: string, tokens: readonly string[], tokenizer: Tokenizer): Span[] {
  const pieces = piecesOf(text, tokenizer);
  const stream = new Stream(pieces);
  const added = addedTokens(tokenizer);
  const characters = [...text];
  const surfaces = tokens.map((token) => surfaceOf(token, tokenizer));
  const wholeWords =
    tokenizer.model?.config.type === 'WordPiece' || tokenizer.model?.config.type === 'WordLevel';
  return surfaces.map((surface, index) => {
    // A token that was added is looked for as it is written, before anything is normalised.
    const written = added.has(tokens[index] ?? '') && stream.takeWritten(tokens[index] ?? '', characters);
    if (written) return written;
    if (surface && stream.skipTo(surface)) return stream.take(surface.length);
    if (surface?.length === 0) return stream.nothing();
    if (wholeWords) return stream.take(stream.toBoundary());
    const next = surfaces.slice(index + 1).find((other) => other && other.length > 0);
    return stream.take(next ? stream.before(next) : stream.left);
  });
}

function addedTokens(tokenizer: Tokenizer): Set<string> {
  return new Set([...tokenizer.get_added_tokens_decoder().values()].map(({ content }) => content));
}

class Stream {
  readonly #pieces: readonly Piece[];
  readonly #bytes: Uint8Array;
  /** Byte → its piece. */
  readonly #owner: Uint32Array;
  #at = 0;

  constructor(pieces: readonly Piece[]) {
    const size = pieces.reduce((sum, { bytes }) => sum + bytes.length, 0);
    this.#pieces = pieces;
    this.#bytes = new Uint8Array(size);
    this.#owner = new Uint32Array(size);
    let at = 0;
    pieces.forEach(({ bytes }, index) => {
      this.#bytes.set(bytes, at);
      this.#owner.fill(index, at, at + bytes.length);
      at += bytes.length;
    });
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  startsWith(surface: Uint8Array, from = this.#at): boolean {
    if (from + surface.length > this.#bytes.length) return false;
    return surface.every((byte, index) => this.#bytes[from + index] === byte);
  }

  /** True when it comes, now or later: then what lies between is passed over. */
  skipTo(surface: Uint8Array): boolean {
    if (surface.length === 0) return false;
    for (let from = this.#at; from < this.#bytes.length; from++) {
      if (!this.startsWith(surface, from)) continue;
      this.#at = from;
      return true;
    }
    return false;
  }

  take(length: number): Span {
    if (length === 0) return this.nothing();
    const first = this.#piece(this.#at);
    this.#at += length;
    const last = this.#piece(this.#at - 1);
    return { start: first?.start ?? 0, end: last?.end ?? 0 };
  }

  /** The same characters, when they come next. */
  takeWritten(token: string, characters: readonly string[]): Span | null {
    const start = this.#piece(this.#at)?.start;
    const wanted = [...token];
    if (start === undefined || wanted.some((character, index) => characters[start + index] !== character))
      return null;
    const end = start + wanted.length;
    while (this.#at < this.#bytes.length && (this.#piece(this.#at)?.start ?? end) < end) this.#at++;
    return { start, end };
  }

  nothing(): Span {
    const start = this.#piece(this.#at)?.start ?? this.#pieces.at(-1)?.end ?? 0;
    return { start, end: start };
  }

  /** Bytes to the end of the word. */
  toBoundary(): number {
    let to = this.#at;
    while (to < this.#bytes.length && (to === this.#at || !this.#begins(to))) to++;
    return to - this.#at;
  }

  /** Bytes to where `surface` comes next. */
  before(surface: Uint8Array): number {
    for (let from = this.#at + 1; from < this.#bytes.length; from++)
      if (this.startsWith(surface, from)) return from - this.#at;
    return this.left;
  }

  #begins(at: number): boolean {
    return this.#owner[at] !== this.#owner[at - 1] && !!this.#piece(at)?.boundary;
  }

  #piece(at: number): Piece | undefined {
    return this.#pieces[this.#owner[at] ?? -1];
  }
}

function piecesOf(text: string, tokenizer: Tokenizer): Piece[] {
  const pieces: Piece[] = [];
  const known = new Map<string, string>();
  let start = 0;
  let boundary = true;
  for (const [unit] of text.matchAll(/[^\p{M}]\p{M}*|\p{M}+/gsu)) {
    const end = start + [...unit].length;
    const normal: string = known.get(unit) ?? tokenizer.normalizer?._call(unit) ?? unit;
    known.set(unit, normal);
    const bytes = encoder.encode(normal.replace(blank, ''));
    const isPunctuation = punctuation.test(unit);
    // Normalisers put blanks around what is a word by itself, as Chinese characters are.
    const alone = isPunctuation || /^\s/u.test(normal);
    if (bytes.length > 0) pieces.push({ start, end, bytes, boundary: boundary || alone });
    boundary = isPunctuation || /\s$/u.test(normal);
    start = end;
  }
  return pieces;
}

/** The bytes that a token stands for; null: unknown. */
function surfaceOf(token: string, tokenizer: Tokenizer): Uint8Array | null {
  const { model, decoder } = tokenizer;
  if (token === model?.unk_token) return null;
  const byte = /^<0x([0-9A-F]{2})>$/.exec(token);
  if (byte) return Uint8Array.of(Number.parseInt(byte[1] ?? '', 16));
  if (usesByteLevel(decoder?.config)) return fromByteLevel(token);
  const prefix = model?.config.type === 'WordPiece' ? (model.config.continuing_subword_prefix ?? '##') : '';
  const suffix = model?.end_of_word_suffix ?? '';
  let surface =
    prefix && token.startsWith(prefix) && token.length > prefix.length ? token.slice(prefix.length) : token;
  if (suffix && surface.endsWith(suffix)) surface = surface.slice(0, -suffix.length);
  return encoder.encode(surface.replace(blank, ''));
}

function usesByteLevel(config: { type?: string; decoders?: { type?: string }[] } | undefined): boolean {
  return config?.type === 'ByteLevel' || !!config?.decoders?.some(({ type }) => type === 'ByteLevel');
}

/** Printable bytes stand for themselves; the others, in order, for the characters from U+0100 (as GPT-2 did). */
const byteOfCharacter = new Map<string, number>();
for (let byte = 0, next = 0x100; byte < 256; byte++) {
  const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  byteOfCharacter.set(String.fromCodePoint(printable ? byte : next++), byte);
}

function fromByteLevel(token: string): Uint8Array {
  const bytes = Buffer.from([...token].flatMap((character) => byteOfCharacter.get(character) ?? []));
  let from = 0;
  let to = bytes.length;
  while (from < to && isBlankByte(bytes[from])) from++;
  while (to > from && isBlankByte(bytes[to - 1])) to--;
  return bytes.subarray(from, to);
}

function isBlankByte(byte: number | undefined): boolean {
  return byte === 0x20 || (byte !== undefined && byte >= 0x09 && byte <= 0x0d);
}
