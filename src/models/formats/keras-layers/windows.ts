/** What convolutions and pools have in common: windows that move over space, in either order of the axes. */
import { z } from 'zod';
import type { Attribute, Dim, Value } from '../graph.ts';
import type { LayerCall } from './layer.ts';

export const dataFormat = z.enum(['channels_last', 'channels_first']).nullish();

/** One number for each axis of space, or one for all of them. */
export function perAxis(rank: number): z.ZodType<number[]> {
  const size = z.int().positive();
  return z.union([size.transform((n) => Array.from({ length: rank }, () => n)), z.array(size).length(rank)]);
}

export interface Window {
  kernel: number[];
  strides: number[];
  dilation: number[];
  padding: 'valid' | 'same' | 'causal';
}

/** A value that is about to be convolved or pooled: channels first, whatever the model's own order is. */
export interface Image {
  x: string;
  channels: Dim;
  space: Dim[];
  /** The axes of the model's own order. */
  last: boolean;
}

export function imageOf(
  layer: LayerCall,
  value: Value,
  format: 'channels_last' | 'channels_first' | null | undefined,
): Image {
  const last = format !== 'channels_first';
  const inner = value.shape.slice(1);
  return {
    x: last ? layer.graph.channelsFirst(value) : layer.graph.plain(value),
    channels: (last ? inner.at(-1) : inner[0]) ?? null,
    space: last ? inner.slice(0, -1) : inner.slice(1),
    last,
  };
}

/** The other way round: the result in the model's own order. */
export function imageValue(image: Pick<Image, 'x' | 'channels' | 'space' | 'last'>): Value {
  const { x, channels, space, last } = image;
  return last
    ? { shape: [null, ...space, channels], datatype: 'FP32', channelsFirst: x }
    : { shape: [null, channels, ...space], datatype: 'FP32', plain: x };
}

/** Sizes after the window has moved over space. Throws UNSUPPORTED_LAYER where nothing would be left. */
export function movedOver(layer: LayerCall, space: readonly Dim[], window: Window): Dim[] {
  return space.map((size, axis) => {
    if (size === null) return null;
    const stride = window.strides[axis] ?? 1;
    const reach = reachOf(window, axis);
    const result =
      window.padding === 'valid' ? Math.ceil((size - reach + 1) / stride) : Math.ceil(size / stride);
    if (result < 1) throw layer.refused(`has a window of ${reach} over an input of ${size}`);
    return result;
  });
}

function reachOf(window: Window, axis: number): number {
  return ((window.kernel[axis] ?? 1) - 1) * (window.dilation[axis] ?? 1) + 1;
}

/**
 * `same` as TensorFlow means it: ceil(size / stride) results, the odd row of padding at the end.
 * Written as numbers wherever they are the same for every size; else ONNX works them out for each request.
 */
export function windowAttributes(
  layer: LayerCall,
  space: readonly Dim[],
  window: Window,
): Record<string, Attribute> {
  const attributes: Record<string, Attribute> = {
    kernel_shape: { ints: window.kernel },
    strides: { ints: window.strides },
  };
  if (window.dilation.some((n) => n !== 1)) attributes.dilations = { ints: window.dilation };
  if (window.padding === 'valid') return attributes;
  const pads = space.map((size, axis) => padsOf(window, axis, size));
  if (pads.every((pad) => pad !== undefined))
    return {
      ...attributes,
      pads: { ints: [...pads.map(([begin]) => begin), ...pads.map(([, end]) => end)] },
    };
  if (window.dilation.some((n) => n !== 1))
    throw layer.refused(
      'has strides and dilation over a variable size',
      'give keras.Input a fixed size there',
    );
  return { ...attributes, auto_pad: { text: 'SAME_UPPER' } };
}

function padsOf(window: Window, axis: number, size: Dim): [number, number] | undefined {
  const reach = reachOf(window, axis);
  if (window.padding === 'causal') return [reach - 1, 0];
  const stride = window.strides[axis] ?? 1;
  if (size === null) return stride === 1 ? halves(reach - 1) : undefined;
  return halves(Math.max(0, (Math.ceil(size / stride) - 1) * stride + reach - size));
}

function halves(total: number): [number, number] {
  return [Math.floor(total / 2), total - Math.floor(total / 2)];
}
