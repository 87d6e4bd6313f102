/**
 * Resizing as Pillow does it, to the bit: two passes of a separable filter with fixed-point weights, each rounded to 8
 * bits. Models were trained on such images; a resize that only looks alike moves their answers.
 */
export interface Picture {
  width: number;
  height: number;
  /** Red, green, blue. */
  data: Uint8Array;
}

interface Filter {
  support: number;
  at(x: number): number;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

/** By Pillow's numbers. */
const filters: Record<number, Filter> = {
  1: { support: 3, at: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
  2: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  3: { support: 2, at: bicubic },
  4: { support: 0.5, at: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  5: {
    support: 1,
    at: (x) => (x === 0 ? 1 : Math.abs(x) >= 1 ? 0 : sinc(x) * (0.54 + 0.46 * Math.cos(x * Math.PI))),
  },
};

export const resamplings = [0, 1, 2, 3, 4, 5];

function bicubic(position: number): number {
  const a = -0.5;
  const x = Math.abs(position);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

const precisionBits = 22;
const channels = 3;

export function resize(picture: Picture, width: number, height: number, resample: number): Picture {
  if (width === picture.width && height === picture.height) return picture;
  const filter = filters[resample];
  if (!filter) return nearest(picture, width, height);
  const wide =
    width === picture.width
      ? picture
      : pass(picture, weightsOf(picture.width, width, filter), { width, height: picture.height }, true);
  return height === wide.height
    ? wide
    : pass(wide, weightsOf(wide.height, height, filter), { width, height }, false);
}

function nearest(picture: Picture, width: number, height: number): Picture {
  const data = new Uint8Array(width * height * channels);
  for (let y = 0, to = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * picture.height) / height) * picture.width;
    for (let x = 0; x < width; x++, to += channels) {
      const from = (row + Math.floor(((x + 0.5) * picture.width) / width)) * channels;
      for (let c = 0; c < channels; c++) data[to + c] = picture.data[from + c] ?? 0;
    }
  }
  return { width, height, data };
}

interface Weights {
  /** First pixel of each output pixel, and its fixed-point weights. */
  first: Int32Array;
  weights: Int32Array[];
}

function weightsOf(from: number, to: number, { support, at }: Filter): Weights {
  const scale = from / to;
  const stretch = Math.max(1, scale);
  const reach = support * stretch;
  const first = new Int32Array(to);
  const weights: Int32Array[] = [];
  for (let pixel = 0; pixel < to; pixel++) {
    const centre = (pixel + 0.5) * scale;
    const least = Math.max(0, Math.trunc(centre - reach + 0.5));
    const most = Math.min(from, Math.trunc(centre + reach + 0.5));
    const exact = new Float64Array(most - least);
    let sum = 0;
    for (let x = 0; x < exact.length; x++) {
      const weight = at((x + least - centre + 0.5) / stretch);
      exact[x] = weight;
      sum += weight;
    }
    first[pixel] = least;
    weights.push(
      Int32Array.from(exact, (weight) => {
        const fixed = (sum === 0 ? weight : weight / sum) * 2 ** precisionBits;
        return Math.trunc(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
      }),
    );
  }
  return { first, weights };
}

function pass(
  picture: Picture,
  { first, weights }: Weights,
  { width, height }: { width: number; height: number },
  along: boolean,
): Picture {
  const { data: source } = picture;
  const data = new Uint8ClampedArray(width * height * channels);
  const step = along ? channels : picture.width * channels;
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += channels) {
      const pixel = along ? x : y;
      const own = weights[pixel] as Int32Array;
      const start = along
        ? (y * picture.width + (first[x] as number)) * channels
        : ((first[y] as number) * picture.width + x) * channels;
      let red = 1 << (precisionBits - 1);
      let green = red;
      let blue = red;
      for (let k = 0, at = start; k < own.length; k++, at += step) {
        const weight = own[k] as number;
        red += (source[at] as number) * weight;
        green += (source[at + 1] as number) * weight;
        blue += (source[at + 2] as number) * weight;
      }
      data[to] = red >> precisionBits;
      data[to + 1] = green >> precisionBits;
      data[to + 2] = blue >> precisionBits;
    }
  }
  return { width, height, data: new Uint8Array(data.buffer) };
}
