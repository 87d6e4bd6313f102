/** Convolutions: Conv1D/2D/3D, depthwise, separable, transposed. Keras keeps kernels as [space…, in, out], ONNX as [out, in, space…]. */
import { z } from 'zod';
import { activate } from './activations.ts';
import { type Converter, type LayerCall, transpose } from './layer.ts';
import {
  dataFormat,
  imageOf,
  imageValue,
  movedOver,
  perAxis,
  type Window,
  windowAttributes,
} from './windows.ts';

const settings = (rank: number) =>
  z.looseObject({
    kernel_size: perAxis(rank),
    strides: perAxis(rank).default(Array.from({ length: rank }, () => 1)),
    dilation_rate: perAxis(rank).default(Array.from({ length: rank }, () => 1)),
    padding:
      rank === 1
        ? z.enum(['valid', 'same', 'causal']).default('valid')
        : z.enum(['valid', 'same']).default('valid'),
    data_format: dataFormat,
    use_bias: z.boolean().default(true),
    quantization_config: z.null().optional(),
    lora_rank: z.null().optional(),
  });
type Settings = z.infer<ReturnType<typeof settings>>;

function windowOf(config: Settings): Window {
  return {
    kernel: config.kernel_size,
    strides: config.strides,
    dilation: config.dilation_rate,
    padding: config.padding,
  };
}

/** [space…, in, out] → [out, in, space…] */
function kernelOrder(rank: number): number[] {
  return [rank + 1, rank, ...Array.from({ length: rank }, (_, i) => i)];
}

/** The bias of a convolution with so many channels, where it has one. */
function addBias(layer: LayerCall, config: Settings, inputs: string[], channels: number): void {
  if (config.use_bias) inputs.push(layer.use(layer.weight('bias', [channels]), 'bias', [channels]));
}

/** What a window that moved over the image gives, activated. */
function result(
  layer: LayerCall,
  image: ReturnType<typeof imageOf>,
  window: Window,
  x: string,
  channels: number,
): ReturnType<typeof activate> {
  const space = movedOver(layer, image.space, window);
  return activate(layer, imageValue({ x, channels, space, last: image.last }), layer.config.activation);
}

const convolution =
  (rank: number): Converter =>
  (layer) => {
    const config = layer.read(
      settings(rank).extend({ filters: z.int().positive(), groups: z.int().positive().default(1) }),
    );
    const value = layer.input();
    layer.rank(value, rank + 2);
    const image = imageOf(layer, value, config.data_format);
    const channels = layer.known(image.channels, 'number of channels');
    const { filters, groups } = config;
    if (channels % groups !== 0 || filters % groups !== 0)
      throw layer.refused(`has ${groups} groups for ${channels} channels and ${filters} filters`);
    const window = windowOf(config);
    const shape = [...config.kernel_size, channels / groups, filters];
    const order = kernelOrder(rank);
    const kernel = layer.graph.weight(
      'kernel',
      order.map((axis) => shape[axis] ?? 1),
      [layer.weight('kernel', shape)],
      ([k]) => transpose(k ?? new Float32Array(), shape, order),
    );
    const inputs = [image.x, kernel];
    addBias(layer, config, inputs, filters);
    const x = layer.graph.node('Conv', inputs, {
      ...windowAttributes(layer, image.space, window),
      group: { int: groups },
    });
    layer.info.units = filters;
    return result(layer, image, window, x, filters);
  };

/** [space…, in, multiplier] → [in · multiplier, 1, space…]: each channel has filters of its own. */
function depthwiseKernel(
  layer: LayerCall,
  config: Settings & { depth_multiplier: number },
  channels: number,
  weight: number,
): string {
  const rank = config.kernel_size.length;
  const shape = [...config.kernel_size, channels, config.depth_multiplier];
  const order = [rank, rank + 1, ...Array.from({ length: rank }, (_, i) => i)];
  const dims = [channels * config.depth_multiplier, 1, ...config.kernel_size];
  return layer.graph.weight('depthwise_kernel', dims, [weight], ([k]) =>
    transpose(k ?? new Float32Array(), shape, order),
  );
}

const depthwise =
  (rank: number): Converter =>
  (layer) => {
    const config = layer.read(settings(rank).extend({ depth_multiplier: z.int().positive().default(1) }));
    const value = layer.input();
    layer.rank(value, rank + 2);
    const image = imageOf(layer, value, config.data_format);
    const channels = layer.known(image.channels, 'number of channels');
    const window = windowOf(config);
    const weight = layer.weight(
      ['kernel', 'depthwise_kernel'],
      [...config.kernel_size, channels, config.depth_multiplier],
    );
    const kernel = depthwiseKernel(layer, config, channels, weight);
    const out = channels * config.depth_multiplier;
    const inputs = [image.x, kernel];
    addBias(layer, config, inputs, out);
    const x = layer.graph.node('Conv', inputs, {
      ...windowAttributes(layer, image.space, window),
      group: { int: channels },
    });
    return result(layer, image, window, x, out);
  };

const separable =
  (rank: number): Converter =>
  (layer) => {
    const config = layer.read(
      settings(rank).extend({ filters: z.int().positive(), depth_multiplier: z.int().positive().default(1) }),
    );
    const value = layer.input();
    layer.rank(value, rank + 2);
    const image = imageOf(layer, value, config.data_format);
    const channels = layer.known(image.channels, 'number of channels');
    const window = windowOf(config);
    const { graph } = layer;
    const depthwiseWeight = layer.weight('depthwise_kernel', [
      ...config.kernel_size,
      channels,
      config.depth_multiplier,
    ]);
    const inner = channels * config.depth_multiplier;
    const ones = Array.from({ length: rank }, () => 1);
    const pointShape = [...ones, inner, config.filters];
    const pointWeight = layer.weight('pointwise_kernel', pointShape);
    const order = kernelOrder(rank);
    const pointwise = graph.weight(
      'pointwise_kernel',
      [config.filters, inner, ...ones],
      [pointWeight],
      ([k]) => transpose(k ?? new Float32Array(), pointShape, order),
    );
    const between = graph.node('Conv', [image.x, depthwiseKernel(layer, config, channels, depthwiseWeight)], {
      ...windowAttributes(layer, image.space, window),
      group: { int: channels },
    });
    const inputs = [between, pointwise];
    addBias(layer, config, inputs, config.filters);
    const x = graph.node('Conv', inputs);
    layer.info.units = config.filters;
    return result(layer, image, window, x, config.filters);
  };

/** The gradient of a convolution: `valid` gives stride · (size − 1) + kernel, or stride · size where that is more; `same` stride · size. */
const transposed =
  (rank: number): Converter =>
  (layer) => {
    const config = layer.read(
      settings(rank).extend({
        filters: z.int().positive(),
        padding: z.enum(['valid', 'same']).default('valid'),
        output_padding: z.null().optional(),
        groups: z.literal(1).default(1),
      }),
    );
    const value = layer.input();
    layer.rank(value, rank + 2);
    const image = imageOf(layer, value, config.data_format);
    const channels = layer.known(image.channels, 'number of channels');
    if (config.dilation_rate.some((n) => n !== 1)) throw layer.refused('has a dilation_rate');
    // Stored as [space…, out, in]; ONNX wants [in, out, space…].
    const shape = [...config.kernel_size, config.filters, channels];
    const order = kernelOrder(rank);
    const kernel = layer.graph.weight(
      'kernel',
      order.map((axis) => shape[axis] ?? 1),
      [layer.weight('kernel', shape)],
      ([k]) => transpose(k ?? new Float32Array(), shape, order),
    );
    const inputs = [image.x, kernel];
    addBias(layer, config, inputs, config.filters);
    const pads = config.kernel_size.map((k, axis) =>
      transposedPads(k, config.strides[axis] ?? 1, config.padding),
    );
    const x = layer.graph.node('ConvTranspose', inputs, {
      kernel_shape: { ints: config.kernel_size },
      strides: { ints: config.strides },
      pads: { ints: [...pads.map((pad) => pad.begin), ...pads.map((pad) => pad.end)] },
      output_padding: { ints: pads.map((pad) => pad.more) },
    });
    layer.info.units = config.filters;
    const space = image.space.map((size, axis) => {
      if (size === null) return null;
      const stride = config.strides[axis] ?? 1;
      return config.padding === 'same'
        ? size * stride
        : size * stride + Math.max((config.kernel_size[axis] ?? 1) - stride, 0);
    });
    return activate(
      layer,
      imageValue({ x, channels: config.filters, space, last: image.last }),
      layer.config.activation,
    );
  };

/** ONNX gives stride · (size − 1) + kernel + more − begin − end. */
function transposedPads(
  kernel: number,
  stride: number,
  padding: 'valid' | 'same',
): { begin: number; end: number; more: number } {
  if (kernel < stride || padding === 'valid') return { begin: 0, end: 0, more: Math.max(stride - kernel, 0) };
  const total = kernel - stride;
  return { begin: Math.floor(total / 2), end: total - Math.floor(total / 2), more: 0 };
}

export const convolutionLayers = new Map<string, Converter>([
  ['Conv1D', convolution(1)],
  ['Conv2D', convolution(2)],
  ['Conv3D', convolution(3)],
  ['Convolution1D', convolution(1)],
  ['Convolution2D', convolution(2)],
  ['DepthwiseConv1D', depthwise(1)],
  ['DepthwiseConv2D', depthwise(2)],
  ['SeparableConv1D', separable(1)],
  ['SeparableConv2D', separable(2)],
  ['Conv1DTranspose', transposed(1)],
  ['Conv2DTranspose', transposed(2)],
]);
