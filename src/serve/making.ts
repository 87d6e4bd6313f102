/** How a deployment is put together: what it serves, with which settings, and the place that answers. */
import type { Accountant } from '../energy/energy.ts';
import type { ModelRecord, VersionRecord } from '../models/models.ts';
import type { BatcherOptions } from './batcher.ts';
import { ComposedPlace } from './composed-place.ts';
import type { Live } from './live.ts';
import type { Composers, Place } from './place.ts';
import { Poisoned } from './poisoned.ts';
import { ReplicaPlace, sameReplica } from './replica-place.ts';
import type { Residency } from './residency.ts';
import type { RunnerLog } from './runner/runner.ts';
import type { Runners } from './runner/runners.ts';
import type { ServedVersion } from './serve.ts';
import { effectiveSettings, type GivenSettings, readSettings } from './settings.ts';

export interface MakerOptions {
  source: {
    /** What a runner loads, decrypted straight into memory; each time a buffer of its own. */
    onnxBytes(model: ModelRecord, version: VersionRecord): Promise<Uint8Array>;
  };
  accountant: Accountant;
  log: RunnerLog & { warn(fields: object, message: string): void };
  runners: Pick<Runners, 'pardon'>;
  maxBatchSize: number;
  maxQueue: number;
  /** For whatever a deployment does not settle itself. */
  defaults: GivenSettings;
  composers?: Composers;
  /** Answers that are used again; without it every request is computed. */
  answers?: BatcherOptions['answers'];
}

export interface Making {
  id: string;
  createdAt: string;
  model: ModelRecord;
  version: VersionRecord;
  artifactBytes: number;
  given: GivenSettings;
  borrowed: boolean;
}

export class Maker {
  readonly #options: MakerOptions;
  readonly #residency: Residency;
  readonly #poisoned = new Poisoned();

  constructor(options: MakerOptions, residency: Residency) {
    this.#options = options;
    this.#residency = residency;
  }

  make({ id, createdAt, model, version, artifactBytes, given, borrowed }: Making): Live {
    const served: ServedVersion = {
      deploymentId: id,
      modelId: model.id,
      versionId: version.id,
      version: version.number,
      format: version.format,
      signature: version.signature,
      settings: this.effective(given),
      deterministic: version.signature.deterministic !== false,
    };
    const use = {
      modelId: model.id,
      model: `${model.organisation}/${model.name}`,
      version: version.number,
      owner: { organisationId: model.organisationId, organisation: model.organisation },
    };
    const parts = { id, createdAt, model, version, use, artifactBytes, borrowed };
    const place = this.#placeFor(parts, served);
    return { ...parts, routed: false, given, served, place, changing: Promise.resolve() };
  }

  /** Another place, when the settings ask for another replica. */
  nextPlace(live: Live, served: ServedVersion): Place | undefined {
    if (!(live.place instanceof ReplicaPlace) || sameReplica(live.served, served)) return undefined;
    return this.#placeFor(live, served, live.place);
  }

  /** Throws what is wrong with them. */
  effective(given: GivenSettings) {
    const { defaults, maxBatchSize } = this.#options;
    return effectiveSettings(given, { defaults, maxBatchSize });
  }

  /** What is stored and cannot be understood does not keep the version from being served. */
  readStored({ id, settings }: { id: string; settings: string }): GivenSettings {
    try {
      const given = readSettings(settings);
      this.effective(given);
      return given;
    } catch (error) {
      const fields = { err: error, deployment: id };
      this.#options.log.error(fields, 'stored settings are not valid: defaults are used');
      return {};
    }
  }

  #placeFor(
    { model, version, use, artifactBytes }: Pick<Live, 'model' | 'version' | 'use' | 'artifactBytes'>,
    served: ServedVersion,
    before?: Place,
  ): Place {
    const { source, runners, composers, accountant, maxBatchSize, maxQueue, answers, log } = this.#options;
    const bytes = () => source.onnxBytes(model, version);
    const compose = composers?.[version.format];
    if (compose) return new ComposedPlace(compose, { model, version, served, bytes });
    const pardon = (versionId: string) => runners.pardon(versionId);
    const residency = this.#residency;
    const poisoned = this.#poisoned;
    const batcher = { accountant, maxBatchSize, maxQueue, poisoned, log, ...(answers ? { answers } : {}) };
    const parts = { ...batcher, residency, use, artifactBytes, bytes, pardon };
    return new ReplicaPlace(parts, served, before instanceof ReplicaPlace ? before : undefined);
  }
}
