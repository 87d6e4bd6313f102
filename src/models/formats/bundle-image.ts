/** How an image pipeline is computed: what the preprocessor's file says, and whether that fits the model. */
import { z } from 'zod';
import type { Feed, ImageManifest, ImageSteps } from '../../runtimes/pipeline/manifest.ts';
import { resamplings } from '../../runtimes/pipeline/resize.ts';
import { jsonOf, labelsOf, type PipelineParts, pickOutput, unfit } from './bundle-parts.ts';

const edge = z.int().min(1).max(4096);
const sizeSchema = z.union([
  edge.transform((side) => ({ width: side, height: side })),
  z.object({ width: edge, height: edge }),
  z.object({ shortest_edge: edge }),
]);
const three = z.tuple([z.number(), z.number(), z.number()]);
const channelsSchema = z.union([three, z.number().transform((x): [number, number, number] => [x, x, x])]);

const preprocessorSchema = z.looseObject({
  image_processor_type: z.string().nullish(),
  feature_extractor_type: z.string().nullish(),
  do_resize: z.boolean().nullish(),
  size: sizeSchema.nullish(),
  resample: z.int().nullish(),
  crop_pct: z.number().min(0.1).max(1).nullish(),
  do_center_crop: z.boolean().nullish(),
  crop_size: sizeSchema.nullish(),
  do_rescale: z.boolean().nullish(),
  rescale_factor: z.number().nullish(),
  do_normalize: z.boolean().nullish(),
  image_mean: channelsSchema.nullish(),
  image_std: channelsSchema.nullish(),
  do_pad: z.boolean().nullish(),
  do_flip_channel_order: z.boolean().nullish(),
});
type Preprocessor = z.infer<typeof preprocessorSchema>;

export function imageManifest(parts: PipelineParts, task: ImageManifest['task']): ImageManifest {
  const { bundle, choices, config, signature } = parts;
  const preprocessor = jsonOf(bundle, 'preprocessor_config.json', preprocessorSchema);
  if (!preprocessor)
    throw unfit(
      'there is no preprocessor_config.json beside it',
      'preprocessor_config.json',
      'save it there: AutoImageProcessor.from_pretrained(MODEL).save_pretrained(FOLDER)',
    );
  const { pixels, shape } = pixelsOf(parts);
  const image = stepsOf(preprocessor);
  checkFit(shape, image);
  const vectors = task === 'image-feature-extraction';
  const output = pickOutput(
    parts,
    vectors ? ['image_embeds', 'pooler_output', 'last_hidden_state'] : ['logits'],
  );
  const rank = vectors ? [2, 3] : [2];
  if (!rank.includes(output.shape.length))
    throw unfit(
      `its output ${output.name} has ${output.shape.length} dimensions, not ${rank.join(' or ')}`,
      output.name,
    );
  const labels = vectors ? [] : labelsOf(parts, output.name);
  const [rows = -1] = signature.inputs[0]?.shape ?? [];
  const multi = config.problem_type === 'multi_label_classification' || labels.length === 1;
  return {
    task,
    pixels,
    output: output.name,
    fixedRows: rows === -1 ? null : rows,
    image,
    pooling: vectors && output.shape.length === 3 ? (choices.pooling ?? 'cls') : null,
    normalize: choices.normalize ?? false,
    labels,
    activation: choices.function_to_apply ?? config.function_to_apply ?? (multi ? 'sigmoid' : 'softmax'),
  };
}

function pixelsOf({ signature }: PipelineParts): { pixels: Feed; shape: number[] } {
  const [input, ...more] = signature.inputs;
  const { name, datatype, shape } = input ?? { name: '', datatype: 'BYTES', shape: [] };
  if (more.length > 0 || shape.length !== 4 || (datatype !== 'FP32' && datatype !== 'FP16'))
    throw unfit('it must have one input, FP32 or FP16 [rows, 3, height, width]', name || 'inputs');
  if (shape[1] !== 3 && shape[1] !== -1)
    throw unfit(`its input ${name} has ${shape[1]} channels where red, green and blue come`, name);
  return { pixels: { name, datatype }, shape };
}

function checkFit([, , height = -1, width = -1]: number[], { resize, crop }: ImageSteps): void {
  const known = crop ?? (resize && 'width' in resize ? resize : null);
  const shown = (h: number, w: number) => `${h} × ${w}`;
  if (!known && (height !== -1 || width !== -1))
    throw unfit(
      `it takes images of ${shown(height, width)}, and the preprocessor leaves them at different sizes`,
      'preprocessor_config.json',
      'add a centre crop or a fixed size',
    );
  if (known && ((height !== -1 && height !== known.height) || (width !== -1 && width !== known.width)))
    throw unfit(
      `it takes images of ${shown(height, width)}, and the preprocessor makes ${shown(known.height, known.width)}`,
      'preprocessor_config.json',
    );
}

function stepsOf(preprocessor: Preprocessor): ImageSteps {
  const kind = preprocessor.image_processor_type ?? preprocessor.feature_extractor_type ?? '';
  for (const flag of ['do_pad', 'do_flip_channel_order'] as const) {
    if (preprocessor[flag]) throw unfit(`the preprocessor asks for ${flag}, which is not supported`, flag);
  }
  const resample = preprocessor.resample ?? 2;
  if (!resamplings.includes(resample)) throw unfit(`resample ${resample} is not one of Pillow's`, 'resample');
  const { resize, crop } = kind.startsWith('ConvNext') ? convNextSize(preprocessor) : usualSize(preprocessor);
  const normal = preprocessor.do_normalize ?? preprocessor.image_mean != null;
  if (normal && (!preprocessor.image_mean || !preprocessor.image_std))
    throw unfit(
      'the preprocessor normalises, but has no image_mean or image_std',
      'preprocessor_config.json',
    );
  const rescale = preprocessor.do_rescale ?? true;
  return {
    resize,
    resample,
    crop,
    scale: rescale ? (preprocessor.rescale_factor ?? 1 / 255) : 1,
    mean: (normal && preprocessor.image_mean) || [0, 0, 0],
    deviation: (normal && preprocessor.image_std) || [1, 1, 1],
  };
}

function usualSize({
  do_resize,
  size,
  do_center_crop,
  crop_size,
}: Preprocessor): Pick<ImageSteps, 'resize' | 'crop'> {
  const wantsResize = do_resize ?? size != null;
  if (wantsResize && !size)
    throw unfit('the preprocessor resizes, but has no size it can be read from', 'size');
  const crops = do_center_crop ?? false;
  if (crops && (!crop_size || !('width' in crop_size)))
    throw unfit('the preprocessor crops, but has no crop_size with width and height', 'crop_size');
  const resize = !wantsResize || !size ? null : 'width' in size ? size : { shortest: size.shortest_edge };
  return { resize, crop: crops && crop_size && 'width' in crop_size ? crop_size : null };
}

/** Small sizes are resized to more and cut (224 of 256, say), large ones are stretched to a square. */
function convNextSize({ size, crop_pct: share }: Preprocessor): Pick<ImageSteps, 'resize' | 'crop'> {
  const side = size && ('shortest_edge' in size ? size.shortest_edge : size.height);
  if (!side) throw unfit('the preprocessor has no size', 'size');
  const square = { width: side, height: side };
  if (side >= 384) return { resize: square, crop: null };
  return { resize: { shortest: Math.trunc(side / (share ?? 224 / 256)) }, crop: square };
}
