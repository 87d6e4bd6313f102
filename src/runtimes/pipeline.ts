/**
 * Pipelines as a runtime: text or images in, vectors, labels or entities out. Everything a model needs before and after
 * it is computed here, inside the runner, so that the gateway is never held up and callers share batches.
 */
import { readZip } from '../zip.ts';
import { onnxRuntime } from './onnx.ts';
import { ImagePipeline } from './pipeline/image-pipeline.ts';
import { type PipelineManifest, pipelineFiles } from './pipeline/manifest.ts';
import { TextPipeline } from './pipeline/text-pipeline.ts';
import { Tokens } from './pipeline/tokens.ts';
import type { Runtime } from './runtime.ts';

export const pipelineRuntime: Runtime = {
  name: 'pipeline',
  async load(bytes, options) {
    const files = readZip(bytes, { maxEntries: 8, maxBytes: 2 ** 32 });
    const read = (name: string): Uint8Array => {
      const file = files.get(name);
      if (!file) throw new Error(`the pipeline has no ${name}`);
      return file.read();
    };
    const json = (name: string): unknown => JSON.parse(Buffer.from(read(name)).toString());
    const manifest = json(pipelineFiles.manifest) as PipelineManifest;
    // Before the model: a tokenizer that cannot be built must not leave a loaded model behind.
    const tokens =
      'feeds' in manifest
        ? new Tokens(
            json(pipelineFiles.tokenizer) as object,
            json(pipelineFiles.tokenizerConfig) as object,
            manifest,
          )
        : null;
    const model = await onnxRuntime.load(read(pipelineFiles.model), options);
    if ('feeds' in manifest && tokens) return new TextPipeline(manifest, tokens, model);
    if ('pixels' in manifest) return new ImagePipeline(manifest, model);
    throw new Error('the pipeline has no task');
  },
};
