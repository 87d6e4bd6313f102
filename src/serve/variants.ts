/**
 * Cheaper variants for dirty hours: a deployment may name versions of the same signature (quantised, distilled) that
 * answer in its place while the electricity is dirtier than a limit.
 *
 * In: the deployment that was asked for, and how dirty the grid is now. Out: the one that answers. Promise: it has the
 * same inputs and outputs, and no limit is crossed back and forth with every wobble of the grid.
 */
import { CommonwattError } from '../errors.ts';
import type { ModelSignature } from '../models/models.ts';
import { parseModelRef } from '../models/names.ts';
import type { ServedVersion } from './serve.ts';

/** `use` answers above so many gCO2e/kWh. */
export interface Greener {
  use: string;
  aboveGPerKwh: number;
}

/** A variant, and by which model and version it is known to callers. */
export interface Variant {
  served: ServedVersion;
  /** `org/model:3` */
  name: string;
  organisation: string;
  model: string;
}

export interface VariantsParts {
  /** gCO2e/kWh now; null: not known, and then nobody is given another model. */
  intensity(): number | null;
  /** The deployed version of that name; undefined: it is not served. */
  find(name: string): ServedVersion | undefined;
}

/** Once begun, a variant answers until the grid is so much cleaner than its limit. */
const backBelow = 0.95;
/** How long an intensity is taken for the present one, ms. */
const freshMs = 5000;

export class Variants {
  readonly #parts: VariantsParts;
  /** deploymentId and variant → it answers now. */
  readonly #on = new Map<string, boolean>();
  #seen: { atMs: number; gPerKwh: number | null } = { atMs: Number.NEGATIVE_INFINITY, gPerKwh: null };

  constructor(parts: VariantsParts) {
    this.#parts = parts;
  }

  /** Of those whose limit is exceeded, the one with the highest limit; undefined: what was asked for. */
  of(asked: ServedVersion): Variant | undefined {
    const { greener } = asked.settings;
    if (greener.length === 0) return undefined;
    const now = this.#now();
    let best: (Greener & { served: ServedVersion }) | undefined;
    for (const entry of greener) {
      if (!this.#isOn(asked, entry, now) || (best && entry.aboveGPerKwh <= best.aboveGPerKwh)) continue;
      const served = this.#parts.find(entry.use);
      if (served && sameTensors(asked.signature, served.signature)) best = { ...entry, served };
    }
    if (!best) return undefined;
    const { organisation, name: model } = parseModelRef(best.use);
    return { served: best.served, name: best.use, organisation, model };
  }

  #isOn({ deploymentId }: ServedVersion, { use, aboveGPerKwh }: Greener, now: number | null): boolean {
    const key = `${deploymentId} ${use}`;
    const before = this.#on.get(key) ?? false;
    const on = now !== null && now > aboveGPerKwh * (before ? backBelow : 1);
    if (on !== before) this.#on.set(key, on);
    return on;
  }

  #now(): number | null {
    const atMs = performance.now();
    if (atMs - this.#seen.atMs >= freshMs) this.#seen = { atMs, gPerKwh: this.#parts.intensity() };
    return this.#seen.gPerKwh;
  }
}

/** Throws INVALID_REQUEST that names the setting: before anything is changed. */
export function checkGreener(
  greener: readonly Greener[],
  asked: { name: string; signature: ModelSignature },
  find: VariantsParts['find'],
): void {
  for (const [index, { use }] of greener.entries()) {
    const field = `greener.${index}.use`;
    if (use === asked.name)
      throw refused(field, `${use} is the deployment itself`, 'name another version or model');
    const served = find(use);
    if (!served) throw refused(field, `${use} is not deployed`, `deploy it first: commonwatt deploy ${use}`);
    if (!sameTensors(asked.signature, served.signature))
      throw refused(
        field,
        `${use} has other inputs and outputs than ${asked.name}`,
        'a variant takes and gives tensors of the same names, datatypes and shapes',
      );
  }
}

export function sameTensors(one: ModelSignature, other: ModelSignature): boolean {
  const text = ({ inputs, outputs }: ModelSignature) =>
    JSON.stringify(
      [inputs, outputs].map((specs) => specs.map(({ name, datatype, shape }) => [name, datatype, shape])),
    );
  return text(one) === text(other);
}

function refused(field: string, message: string, hint: string): CommonwattError {
  return new CommonwattError('INVALID_REQUEST', `setting ${field}: ${message}`, {
    where: `settings.${field}`,
    hint,
  });
}
