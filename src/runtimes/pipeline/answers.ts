/** The answers of a batch, row by row, as the tensors of the pipeline's signature. */
import { packBytes, type Tensor } from '../tensor.ts';
import type { PipelineManifest } from './manifest.ts';
import { indexOfMost } from './values.ts';

export class Answers {
  readonly #task: PipelineManifest['task'];
  readonly #labels: readonly string[];
  readonly #rows: Float32Array[] = [];

  constructor(task: PipelineManifest['task'], labels: readonly string[]) {
    this.#task = task;
    this.#labels = labels;
  }

  add(row: Float32Array): void {
    this.#rows.push(row);
  }

  tensors(): Tensor[] {
    switch (this.#task) {
      case 'feature-extraction':
      case 'image-feature-extraction':
        return [this.#all('embedding')];
      case 'reranking':
        return [this.#scores(() => 0)];
      default:
        return this.#classes();
    }
  }

  #classes(): Tensor[] {
    const best = this.#rows.map(indexOfMost);
    const names = best.map((index) => Buffer.from(this.#labels[index] ?? String(index)));
    return [
      { name: 'label', datatype: 'BYTES', shape: [names.length], data: packBytes(names) },
      this.#scores((row) => best[row] ?? 0),
      this.#all('scores'),
    ];
  }

  #scores(pick: (row: number) => number): Tensor {
    const data = Float32Array.from(this.#rows, (scores, row) => scores[pick(row)] ?? Number.NaN);
    return { name: 'score', datatype: 'FP32', shape: [data.length], data };
  }

  #all(name: string): Tensor {
    const width = this.#rows[0]?.length ?? 0;
    const data = new Float32Array(this.#rows.length * width);
    this.#rows.forEach((row, index) => {
      data.set(row, index * width);
    });
    return { name, datatype: 'FP32', shape: [this.#rows.length, width], data };
  }
}
