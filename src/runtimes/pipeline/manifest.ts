/**
 * What a pipeline does, all of it settled when the bundle was imported: the served form of a pipeline is a zip archive of
 * `pipeline.json` (this), `model.onnx`, and for text `tokenizer.json` and `tokenizer_config.json`, each stored as it is.
 */
export interface Feed {
  name: string;
  datatype: 'INT64' | 'INT32' | 'FP32' | 'FP16';
}

export interface TextFeeds {
  ids: Feed;
  /** Without it rows of different lengths are never computed together. */
  mask: Feed | null;
  types: Feed | null;
}

export interface TextManifest {
  task: 'feature-extraction' | 'text-classification' | 'token-classification' | 'reranking';
  feeds: TextFeeds;
  output: string;
  /** Tokens of a row, special ones included; longer texts are cut. */
  maxLength: number;
  /** The model's sequence dimension, where it is fixed; every row is then padded to it. */
  fixedLength: number | null;
  /** The model's first dimension, where it is fixed. */
  fixedRows: number | null;
  padId: number;
  padTypeId: number;
  padLeft: boolean;
  /** null: the output has one vector a row already. */
  pooling: 'mean' | 'cls' | null;
  normalize: boolean;
  labels: string[];
  activation: Activation;
  aggregation: 'none' | 'simple';
}

export interface ImageManifest {
  task: 'image-classification' | 'image-feature-extraction';
  pixels: Feed;
  output: string;
  fixedRows: number | null;
  image: ImageSteps;
  pooling: 'mean' | 'cls' | null;
  normalize: boolean;
  labels: string[];
  activation: Activation;
}

export interface ImageSteps {
  /** shortest: the shorter edge gets so many pixels, the other in proportion. */
  resize: { width: number; height: number } | { shortest: number } | null;
  /** Pillow's numbers. */
  resample: number;
  crop: { width: number; height: number } | null;
  /** (value · scale − mean) / deviation, for red, green and blue. */
  scale: number;
  mean: [number, number, number];
  deviation: [number, number, number];
}

export type Activation = 'softmax' | 'sigmoid' | 'none';
export type PipelineManifest = TextManifest | ImageManifest;

export const pipelineFiles = {
  manifest: 'pipeline.json',
  model: 'model.onnx',
  tokenizer: 'tokenizer.json',
  tokenizerConfig: 'tokenizer_config.json',
} as const;
