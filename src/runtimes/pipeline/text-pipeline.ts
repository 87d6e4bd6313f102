/** Texts (or pairs of them) through a model: tokens in, per row a vector, a label, a score or its entities. */
import type { LoadedModel } from '../runtime.ts';
import { packBytes, type Tensor } from '../tensor.ts';
import { Answers } from './answers.ts';
import { entitiesOf } from './entities.ts';
import { groupsOf } from './groups.ts';
import type { TextManifest } from './manifest.ts';
import type { TokenRow, Tokens } from './tokens.ts';
import { activate, floats, normalise, pool, texts, wholeNumbers } from './values.ts';

/** A row's part of the model's output: so many vectors of so much, and which of them are the row's own tokens. */
interface RowOutput {
  values: Float32Array;
  width: number;
  from: number;
  to: number;
}

export class TextPipeline implements LoadedModel {
  readonly #manifest: TextManifest;
  readonly #tokens: Tokens;
  readonly #model: LoadedModel;

  constructor(manifest: TextManifest, tokens: Tokens, model: LoadedModel) {
    this.#manifest = manifest;
    this.#tokens = tokens;
    this.#model = model;
  }

  async run(inputs: readonly Tensor[]): Promise<Tensor[]> {
    const { task, labels } = this.#manifest;
    const { rows, first } = this.#read(inputs);
    const outputs = await this.#compute(rows);
    if (task === 'token-classification') {
      const entities = outputs.map((output, row) => this.#entities(output, rows[row]!, first[row] ?? ''));
      const data = packBytes(entities.map((found) => Buffer.from(JSON.stringify(found))));
      return [{ name: 'entities', datatype: 'BYTES', shape: [rows.length], data }];
    }
    const answers = new Answers(task, labels);
    for (const output of outputs) answers.add(this.#vector(output));
    return answers.tensors();
  }

  release(): Promise<void> {
    return this.#model.release();
  }

  #read(inputs: readonly Tensor[]): { rows: TokenRow[]; first: string[] } {
    const named = (name: string) =>
      texts(
        inputs.find((input) => input.name === name),
        name,
      );
    if (this.#manifest.task !== 'reranking') {
      const first = named('text');
      return { first, rows: first.map((text) => this.#tokens.one(text)) };
    }
    const first = named('query');
    const documents = named('document');
    if (documents.length !== first.length)
      throw new Error(
        `there are ${first.length} queries for ${documents.length} documents: send one of each a row`,
      );
    return { first, rows: first.map((query, row) => this.#tokens.pair(query, documents[row] ?? '')) };
  }

  /** In the order of `rows`, whatever they were computed with. */
  async #compute(rows: readonly TokenRow[]): Promise<RowOutput[]> {
    const { fixedRows, feeds, fixedLength } = this.#manifest;
    const outputs: RowOutput[] = new Array(rows.length);
    const lengths = rows.map(({ ids }) => fixedLength ?? ids.length);
    for (const group of groupsOf(lengths, { mayPad: feeds.mask !== null, fixedRows })) {
      const results = await this.#computeGroup(group.map((row) => rows[row]!));
      group.forEach((row, index) => {
        outputs[row] = results[index]!;
      });
    }
    return outputs;
  }

  async #computeGroup(rows: readonly TokenRow[]): Promise<RowOutput[]> {
    const { feeds, output, padId, padTypeId, padLeft, fixedLength, fixedRows } = this.#manifest;
    const length = fixedLength ?? Math.max(1, ...rows.map(({ ids }) => ids.length));
    const count = fixedRows ?? rows.length;
    const size = count * length;
    const ids = new Array<number>(size).fill(padId);
    const mask = new Array<number>(size).fill(0);
    const types = new Array<number>(size).fill(padTypeId);
    const spans = rows.map((row, index) => {
      const from = padLeft ? length - row.ids.length : 0;
      row.ids.forEach((id, token) => {
        const at = index * length + from + token;
        ids[at] = id;
        mask[at] = 1;
        types[at] = row.types[token] ?? 0;
      });
      return { from, to: from + row.ids.length };
    });
    const shape = [count, length];
    const results = await this.#model.run([
      wholeNumbers(feeds.ids, shape, ids),
      ...(feeds.mask ? [wholeNumbers(feeds.mask, shape, mask)] : []),
      ...(feeds.types ? [wholeNumbers(feeds.types, shape, types)] : []),
    ]);
    const result = results.find(({ name }) => name === output);
    if (!result || result.shape[0] !== count)
      throw new Error(`the model's output ${output} has no row for each text`);
    const values = floats(result);
    const each = values.length / count;
    const width = result.shape.at(-1) ?? 1;
    return spans.map((span, row) => ({
      values: values.subarray(row * each, (row + 1) * each),
      width,
      ...span,
    }));
  }

  #vector({ values, width, from, to }: RowOutput): Float32Array {
    const { task, pooling, normalize, activation } = this.#manifest;
    if (task !== 'feature-extraction') return activate(values, activation);
    const vector = pooling === null ? values.slice() : pool(values, width, { pooling, from, to });
    return normalize ? normalise(vector) : vector;
  }

  #entities({ values, width, from }: RowOutput, row: TokenRow, text: string): unknown[] {
    const { labels, activation, aggregation } = this.#manifest;
    const scores = row.tokens.map((_, token) => {
      const at = (from + row.from + token) * width;
      return activate(values.subarray(at, at + width), activation);
    });
    return entitiesOf({ text, row, scores, labels, aggregation, tokenizer: this.#tokens.tokenizer });
  }
}
