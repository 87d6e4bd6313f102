/** Versions of a model: imported as files, shown, and given back. */
import { z } from 'zod';
import type { ArtifactFormat } from '../../models/models.ts';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';
import { bytesSchema, modelParams, versionParams, versionSchema } from './schemas.ts';
import { acceptOnly, collectBody } from './uploads.ts';
import { parseModelName, versionView } from './views.ts';

type Parts = Pick<House, 'gate' | 'registry' | 'datasets' | 'limits'>;

/** Of the file as it was imported; an ONNX model may have come with its data in an archive. */
const endings: Record<ArtifactFormat, string> = {
  'keras-h5': 'h5',
  keras: 'keras',
  'tfjs-layers': 'zip',
  onnx: 'onnx',
  pipeline: 'zip',
  ensemble: 'yaml',
};

export function versionRoutes(app: PlatformApp, { gate, registry, datasets, limits }: Parts): void {
  app.register(async (uploads) => {
    const scope: PlatformApp = uploads.withTypeProvider();
    acceptOnly(scope, 'application/octet-stream');
    scope.post(
      '/models/:model/versions',
      {
        bodyLimit: limits.maxArtifactBytes,
        config: {
          access: 'key',
          errors: [
            'MODEL_NOT_FOUND',
            'FORBIDDEN',
            'UNSUPPORTED_FORMAT',
            'UNSUPPORTED_LAYER',
            'UNSAFE_MODEL',
            'CORRUPT_MODEL',
            'INVALID_CONFIG',
            'VERSION_NOT_FOUND',
            'PAYLOAD_TOO_LARGE',
            'UNSUPPORTED_MEDIA_TYPE',
          ],
        },
        schema: {
          tags: ['models'],
          summary: 'Import an artifact as the next version',
          description:
            'The bytes of a Keras .h5 or .keras file, an ONNX file, a zip archive (a pipeline, an ONNX model with external data, a tf.js layers model), or the YAML of an ensemble. The model is created when it is new; the same bytes again give the version that exists.',
          consumes: ['application/octet-stream'],
          params: modelParams,
          querystring: z.strictObject({
            job: z.string().max(100).optional().describe('id of the training job it came from'),
          }),
          body: bytesSchema,
          response: { 201: versionSchema },
        },
      },
      async (request, reply) => {
        const principal = principalOf(request);
        const { organisation, name } = parseModelName(request.params.model);
        gate.authorizeNewModel(principal, organisation, name);
        const bytes = await collectBody(request, limits.maxArtifactBytes);
        const { job } = request.query;
        const version = await registry.importVersion({
          principal,
          organisation,
          name,
          bytes,
          ...(job === undefined ? {} : { jobId: job }),
        });
        const { model } = await gate.authorize(principal, 'view', organisation, name);
        return reply.code(201).send(await versionView(datasets, model, version, true));
      },
    );
  });
  app.get(
    '/models/:model/versions/:number',
    {
      config: { access: 'key', errors: ['MODEL_NOT_FOUND', 'VERSION_NOT_FOUND'] },
      schema: {
        tags: ['models'],
        summary: 'Show a version',
        params: versionParams,
        response: { 200: versionSchema },
      },
    },
    async (request) => {
      const { organisation, name } = parseModelName(request.params.model);
      const access = await gate.authorize(principalOf(request), 'view', organisation, name);
      const version = await registry.getVersion(access.model.id, request.params.number);
      return versionView(datasets, access.model, version, access.grant === null);
    },
  );
  app.get(
    '/models/:model/versions/:number/artifact',
    {
      config: { access: 'key', errors: ['MODEL_NOT_FOUND', 'VERSION_NOT_FOUND', 'UNSUPPORTED_FORMAT'] },
      schema: {
        tags: ['models'],
        summary: 'Download a version',
        produces: ['application/octet-stream'],
        params: versionParams,
        querystring: z.strictObject({
          format: z
            .enum(['h5', 'onnx', 'original'])
            .default('h5')
            .describe('original: the file as imported; onnx exists for every single model'),
        }),
        response: { 200: bytesSchema },
      },
    },
    async (request, reply) => {
      const { organisation, name } = parseModelName(request.params.model);
      const { model } = await gate.authorize(principalOf(request), 'download', organisation, name);
      const version = await registry.getVersion(model.id, request.params.number);
      const { format } = request.query;
      const bytes = await registry.artifactBytes(version, format === 'h5' ? 'keras-h5' : format);
      const ending = format === 'original' ? endings[version.format] : format;
      return reply
        .type('application/octet-stream')
        .header('content-disposition', `attachment; filename="${name}-${version.number}.${ending}"`)
        .send(bytes);
    },
  );
}
