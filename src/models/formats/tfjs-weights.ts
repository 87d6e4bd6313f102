/** Weights of a TensorFlow.js model: which is which, by their names, and what their bytes mean. */
import { z } from 'zod';
import { CommonwattError } from '../../errors.ts';
import { quote } from '../names.ts';
import { floatsAt } from './hdf5-read.ts';
import { type DeclaredWeight, isIgnored } from './keras-layers/layer.ts';

export const weightSpec = z.looseObject({
  name: z.string(),
  shape: z.array(z.int().nonnegative()),
  dtype: z.enum(['float32', 'int32', 'bool', 'string', 'complex64']),
  quantization: z
    .looseObject({
      dtype: z.enum(['uint8', 'uint16', 'float16']),
      scale: z.number().default(1),
      min: z.number().default(0),
    })
    .optional(),
});

export interface TfjsWeight {
  spec: z.infer<typeof weightSpec>;
  bytes: Buffer;
  offset: number;
}

/** Shards lie beside model.json. Throws UNSAFE_MODEL for a path that leads elsewhere. */
export function shardName(path: string): string {
  if (/^[\w.-]+(\/[\w.-]+)*$/.test(path) && !path.split('/').includes('..')) return path;
  throw new CommonwattError('UNSAFE_MODEL', `the shard ${quote(path)} is not beside model.json`, {
    where: 'weightsManifest',
    hint: 'pack model.json with all its shards beside it',
  });
}

/** One entry for each declared weight: the one whose name has the layer's and the weight's role in it. */
export function locateByName(
  weights: readonly DeclaredWeight[],
  stored: readonly TfjsWeight[],
): (TfjsWeight | undefined)[] {
  const byRole = new Map<string, { parts: string[]; weight: TfjsWeight }[]>();
  for (const weight of stored) {
    const parts = weight.spec.name.split('/');
    const role = (parts.pop() ?? '').replace(/:\d+$/, '').replace(/_\d+$/, '');
    byRole.set(role, [...(byRole.get(role) ?? []), { parts, weight }]);
  }
  return weights.map((wanted) => (isIgnored(wanted) ? undefined : findOne(wanted, byRole)));
}

function findOne(
  wanted: DeclaredWeight,
  byRole: Map<string, { parts: string[]; weight: TfjsWeight }[]>,
): TfjsWeight {
  const layer = wanted.layer.at(-1) ?? '';
  const label = `the ${wanted.roles[0]} of layer ${quote(wanted.layer.join('/'))}`;
  const direction = wanted.folder
    .find((part) => part === 'forward_layer' || part === 'backward_layer')
    ?.split('_')[0];
  const own = layer.split('/');
  const found = wanted.roles
    .flatMap((role) => byRole.get(role) ?? [])
    .filter(({ parts }) => parts.some((_, i) => own.every((part, k) => parts[i + k] === part)))
    .filter(({ parts }) => !direction || parts.some((part) => part.startsWith(`${direction}_`)));
  const [one, second] = found;
  if (!one) throw damagedTfjs(`${label} is not among its weights`, layer);
  if (second)
    throw damagedTfjs(
      `${label} is there twice, as ${quote(one.weight.spec.name)} and ${quote(second.weight.spec.name)}`,
      layer,
    );
  const { spec } = one.weight;
  if (spec.shape.join() !== wanted.shape.join())
    throw damagedTfjs(
      `${label} has the shape [${spec.shape.join(', ')}]; its configuration asks for [${wanted.shape.join(', ')}]`,
      layer,
    );
  if (spec.dtype !== 'float32') throw damagedTfjs(`${label} is ${spec.dtype}, not float32`, layer);
  return one.weight;
}

/** As TensorFlow.js reads them: whole numbers by scale and least value, half floats as they are. */
export function valuesOf({ spec, bytes, offset }: TfjsWeight): Float32Array {
  const count = spec.shape.reduce((all, dim) => all * dim, 1);
  const { quantization } = spec;
  if (!quantization) return floatsAt(bytes, offset, count);
  const { dtype, scale, min } = quantization;
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    if (dtype === 'uint8') out[i] = bytes.readUInt8(offset + i) * scale + min;
    else if (dtype === 'uint16') out[i] = bytes.readUInt16LE(offset + 2 * i) * scale + min;
    else out[i] = halfToFloat(bytes.readUInt16LE(offset + 2 * i));
  }
  return out;
}

function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

export function damagedTfjs(message: string, where: string): CommonwattError {
  return new CommonwattError('CORRUPT_MODEL', `the tf.js model is damaged: ${message}`, {
    where,
    hint: 'save the model again with model.save(…), and pack model.json with all its shards',
  });
}
