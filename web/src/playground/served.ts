import type { Model, TensorSpec, Version } from '../server/shapes.ts';
import { side } from './brush.ts';

/** The version that answers without a version in the address: `production`, else the newest that is deployed. */
export function servedVersion(model: Model): Version | null {
  const ready = model.deployments
    .filter(({ state }) => state === 'ready' || state === 'idle')
    .map(({ version }) => version);
  const production = model.aliases.find(({ alias }) => alias === 'production')?.version;
  const number = production ?? (ready.length > 0 ? Math.max(...ready) : undefined);
  return model.versions.find((version) => version.number === number) ?? null;
}

/** The input that takes a drawing: the only one, with 100 numbers a row. Null: the model takes something else. */
export function drawingInput(version: Version | null): TensorSpec | null {
  const [input, ...others] = version?.inputs ?? [];
  if (!input || others.length > 0 || !input.datatype.startsWith('FP')) return null;
  const sizes = input.shape.slice(1);
  const rowLength = sizes.reduce((product, size) => product * size, 1);
  return sizes.every((size) => size > 0) && rowLength === side * side ? input : null;
}

export function takesDrawings(model: Model): boolean {
  return drawingInput(servedVersion(model)) !== null;
}

/** The data set of the served version where the caller's organisation owns it, by its name there. */
export function ownDataset(version: Version | null, organisation: string): string | null {
  const [owner, name] = version?.dataset?.split('/') ?? [];
  return owner !== undefined && owner === organisation && name ? name : null;
}

export function mayExplain(model: Model): boolean {
  return model.owned || (model.grant?.permissions.includes('explain') ?? false);
}
