/** How to ask a version that has just been deployed, as a line to type: each kind of model is asked in its own way. */
import type { Version } from '@commonwatt/client';

export function askLine(model: string, { dataset, inputs }: Pick<Version, 'dataset' | 'inputs'>): string {
  const ask = `commonwatt predict ${model}`;
  if (dataset !== null) return `${ask} --row 7`;
  return [ask, ...inputs.map(option)].join(' ');
}

function option({ name, datatype, shape }: Version['inputs'][number]): string {
  if (datatype === 'BYTES' && name === 'text') return '--text "…"';
  if (datatype === 'BYTES' && name === 'image') return '--image FILE';
  if (datatype === 'BYTES') return `--set ${name}="…"`;
  // The first dimension is that of the rows.
  const sizes = shape.slice(1).map((size) => (size === -1 ? 'n' : String(size)));
  if (sizes.length === 0) return `--set ${name}=NUMBER`;
  return `--set '${name}=[${sizes.join(' × ')} numbers]'`;
}
