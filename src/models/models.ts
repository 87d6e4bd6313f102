/**
 * The models room: registry of models, immutable versions, aliases and grants.
 *
 * In: artifacts of any supported format. Out: registered versions whose bytes are encrypted at rest and whose
 * inputs and outputs are known. Promise: a version is whole or absent; nothing half-registered is ever visible.
 */
import type { Datatype } from '../runtimes/tensor.ts';

export type { Datatype };

/** One input or output of a model; −1 is a variable dimension (the first one is the batch). */
export interface TensorSpec {
  name: string;
  datatype: Datatype;
  shape: number[];
}

export interface ModelSignature {
  inputs: TensorSpec[];
  outputs: TensorSpec[];
  /** false: the same inputs may give other outputs, so that no answer is used twice. Not there: they never do. */
  deterministic?: false;
}

export interface ModelRecord {
  id: string;
  organisationId: string;
  organisation: string;
  name: string;
  createdAt: string;
}

/** pipeline: a model with its pre- and post-processing; ensemble: a DAG of models, declared in YAML. */
export type ArtifactFormat = 'keras-h5' | 'keras' | 'tfjs-layers' | 'onnx' | 'pipeline' | 'ensemble';

export interface VersionRecord {
  id: string;
  modelId: string;
  number: number;
  /** The format that was imported. `onnx` is always available too: it is what runners load. */
  format: ArtifactFormat;
  /** SHA-256 of the artifact as imported, hex, and of the ONNX form that is served. */
  artifactSha256: string;
  onnxSha256: string;
  sizeBytes: number;
  signature: ModelSignature;
  createdAt: string;
  /** Member name, the training job and data set it came from, where known. */
  createdBy: string;
  jobId: string | null;
  datasetId: string | null;
}

export interface GrantRecord {
  id: string;
  modelId: string;
  granteeOrganisationId: string;
  granteeOrganisation: string;
  permissions: GrantPermission[];
  /** At most this many requests in each period; null: no limit. */
  limit: { requests: number; period: 'hour' | 'day' | 'month' } | null;
  expiresAt: string | null;
  createdAt: string;
  revokedAt: string | null;
}

export type GrantPermission = 'infer' | 'explain' | 'download';

/** A parsed model reference, e.g. `acme/digits`, `acme--digits`, `acme/digits:1`, `acme/digits@production`. */
export interface ModelRef {
  organisation: string;
  name: string;
  version?: number;
  alias?: string;
}
