import { describe, expect, it } from 'vitest';
import type { Model, Version } from '../server/shapes.ts';
import { drawingInput, mayExplain, ownDataset, servedVersion, takesDrawings } from './served.ts';

const version = (number: number, shape = [-1, 100]): Version => ({
  id: `v${number}`,
  number,
  format: 'keras-h5',
  sha256: '',
  onnxSha256: '',
  sizeBytes: 0,
  inputs: [{ name: 'input', datatype: 'FP32', shape }],
  outputs: [],
  createdAt: '2026-11-01T00:00:00Z',
  createdBy: null,
  jobId: null,
  dataset: 'acme/digits',
});

const digits: Model = {
  id: 'm1',
  organisation: 'acme',
  name: 'digits',
  ref: 'acme/digits',
  flat: 'acme--digits',
  owned: false,
  versions: [version(1), version(2), version(3)],
  aliases: [],
  deployments: [
    { id: 'd1', version: 1, state: 'ready' },
    { id: 'd2', version: 2, state: 'ready' },
    { id: 'd3', version: 3, state: 'failed' },
  ],
  createdAt: '2026-11-01T00:00:00Z',
  grant: {
    id: 'g1',
    organisation: 'globex',
    permissions: ['infer'],
    limit: null,
    usedInPeriod: 0,
    expiresAt: null,
    createdAt: '2026-11-01T00:00:00Z',
    revokedAt: null,
  },
};

describe('what the playground can send', () => {
  it('goes to the production version, else to the newest that is deployed', () => {
    expect(servedVersion({ ...digits, aliases: [{ alias: 'production', version: 1 }] })?.number).toBe(1);
    expect(servedVersion(digits)?.number).toBe(2);
    expect(servedVersion({ ...digits, deployments: [] })).toBeNull();
  });

  it('must be a row of 100 numbers', () => {
    expect(drawingInput(version(1))?.name).toBe('input');
    expect(drawingInput(version(1, [-1, 10, 10, 1]))?.name).toBe('input');
    expect(drawingInput(version(1, [-1, 8]))).toBeNull();
    expect(drawingInput(version(1, [-1, -1, -1, 100]))).toBeNull();
    expect(drawingInput(null)).toBeNull();
    expect(takesDrawings(digits)).toBe(true);
  });

  it('can be a row of the data set only for its owner', () => {
    expect(ownDataset(version(1), 'acme')).toBe('digits');
    expect(ownDataset(version(1), 'globex')).toBeNull();
    expect(ownDataset({ ...version(1), dataset: null }, 'acme')).toBeNull();
  });

  it('is explained where the grant says so', () => {
    expect(mayExplain(digits)).toBe(false);
    expect(mayExplain({ ...digits, owned: true, grant: null })).toBe(true);
  });
});
