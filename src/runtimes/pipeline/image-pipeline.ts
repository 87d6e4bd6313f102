/** PNG or JPEG files through a model: resized, cut and normalised as its preprocessor says; a vector or a label a row. */
import type { LoadedModel } from '../runtime.ts';
import type { Tensor } from '../tensor.ts';
import { Answers } from './answers.ts';
import { readPicture } from './image-read.ts';
import type { ImageManifest, ImageSteps } from './manifest.ts';
import { type Picture, resize } from './resize.ts';
import { activate, elements, floats, normalise, pixelTensor, pool } from './values.ts';

/** Floating-point numbers of pictures that are computed together: 64 MiB. */
const mostPixelValues = 16 * 1024 * 1024;

export class ImagePipeline implements LoadedModel {
  readonly #manifest: ImageManifest;
  readonly #model: LoadedModel;

  constructor(manifest: ImageManifest, model: LoadedModel) {
    this.#manifest = manifest;
    this.#model = model;
  }

  async run(inputs: readonly Tensor[]): Promise<Tensor[]> {
    const { task, labels, image, fixedRows } = this.#manifest;
    const files = elements(
      inputs.find(({ name }) => name === 'image'),
      'image',
    );
    const answers = new Answers(task, labels);
    let group: Pixels[] = [];
    const compute = async () => {
      for (const output of await this.#compute(group)) answers.add(output);
      group = [];
    };
    for (const [row, file] of files.entries()) {
      const pixels = prepare(await this.#read(file, row), image);
      const first = group[0];
      const fits =
        !first ||
        (first.width === pixels.width &&
          first.height === pixels.height &&
          group.length < (fixedRows ?? Number.POSITIVE_INFINITY) &&
          (group.length + 1) * pixels.values.length <= mostPixelValues);
      if (!fits) await compute();
      group.push(pixels);
    }
    if (group.length > 0) await compute();
    return answers.tensors();
  }

  release(): Promise<void> {
    return this.#model.release();
  }

  async #read(file: Uint8Array, row: number): Promise<Picture> {
    try {
      return await readPicture(file);
    } catch (cause) {
      throw new Error(`image[${row}]: ${cause instanceof Error ? cause.message : cause}`, { cause });
    }
  }

  async #compute(group: readonly Pixels[]): Promise<Float32Array[]> {
    const { pixels, output, fixedRows, pooling, normalize, activation, task } = this.#manifest;
    const { width, height, values } = group[0]!;
    const count = fixedRows ?? group.length;
    const all = new Float32Array(count * values.length);
    group.forEach((picture, row) => {
      all.set(picture.values, row * values.length);
    });
    const results = await this.#model.run([pixelTensor(pixels, [count, 3, height, width], all)]);
    const result = results.find(({ name }) => name === output);
    if (!result || result.shape[0] !== count)
      throw new Error(`the model's output ${output} has no row for each image`);
    const outputs = floats(result);
    const each = outputs.length / count;
    const depth = result.shape.at(-1) ?? 1;
    return group.map((_, row) => {
      const own = outputs.slice(row * each, (row + 1) * each);
      if (task === 'image-classification') return activate(own, activation);
      const vector = pooling === null ? own : pool(own, depth, { pooling, from: 0, to: each / depth });
      return normalize ? normalise(vector) : vector;
    });
  }
}

interface Pixels {
  width: number;
  height: number;
  /** [3, height, width] */
  values: Float32Array;
}

function prepare(picture: Picture, steps: ImageSteps): Pixels {
  let { width, height } = picture;
  if (steps.resize && 'shortest' in steps.resize) {
    const { shortest } = steps.resize;
    const long = Math.trunc((shortest * Math.max(width, height)) / Math.min(width, height));
    [width, height] = width <= height ? [shortest, long] : [long, shortest];
  } else if (steps.resize) ({ width, height } = steps.resize);
  return normalised(resize(picture, width, height, steps.resample), steps);
}

/** Cut around the middle; a picture that is smaller is framed in black. */
function normalised(picture: Picture, { crop, scale, mean, deviation }: ImageSteps): Pixels {
  const { width, height } = crop ?? picture;
  const left = Math.floor((picture.width - width) / 2);
  const top = Math.floor((picture.height - height) / 2);
  const plane = width * height;
  const values = new Float32Array(plane * 3);
  for (let channel = 0; channel < 3; channel++) {
    const table = Float32Array.from({ length: 256 }, (_, value) => {
      const scaled = Math.fround(value * scale);
      return Math.fround(scaled - Math.fround(mean[channel]!)) / Math.fround(deviation[channel]!);
    });
    for (let y = 0, to = channel * plane; y < height; y++) {
      const row = (y + top) * picture.width;
      const outside = y + top < 0 || y + top >= picture.height;
      for (let x = 0; x < width; x++, to++) {
        const at = x + left;
        const value =
          outside || at < 0 || at >= picture.width ? 0 : (picture.data[(row + at) * 3 + channel] as number);
        values[to] = table[value] as number;
      }
    }
  }
  return { width, height, values };
}
