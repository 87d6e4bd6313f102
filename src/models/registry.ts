/** The registry: models, their immutable versions and aliases, and the bytes behind them. */
import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { CommonwattError } from '../errors.ts';
import { actorOf, recordAudit } from '../gate/audit.ts';
import type { ArtifactStore } from '../storage/artifacts.ts';
import type { Db } from '../storage/db.ts';
import { sha256Of } from '../storage/hash.ts';
import { findLineage } from './lineage.ts';
import type { ArtifactFormat, ModelRecord, ModelSignature, VersionRecord } from './models.ts';
import { checkName } from './names.ts';
import { latestOf, models, toModel, toVersion, versionsOf } from './rows.ts';

/** What an artifact turned out to be (formats.ts), with the ONNX form that runners load. */
export interface InspectedArtifact {
  format: ArtifactFormat;
  signature: ModelSignature;
  /** The very artifact where that is ONNX already. */
  onnx: Uint8Array;
}

export interface RegistryOptions {
  db: Db;
  artifacts: Pick<ArtifactStore, 'stage' | 'read'>;
  /** Recognises, checks and converts, for whom it is imported; throws the 4xx that fits. */
  inspect(bytes: Buffer, importer: Import['principal']): Promise<InspectedArtifact>;
  /** Called after a model has come into being, so that remembered refusals are forgotten. */
  changed(): void;
  now?: () => Date;
}

/** Who acts, by the names of that day. */
export interface Actor {
  organisation: string;
  member: string;
}

export interface Import {
  principal: Actor & { organisationId: string };
  organisation: string;
  name: string;
  bytes: Buffer;
  /** The training job it came from; without it, a job of the organisation that produced these bytes is looked for. */
  jobId?: string;
  datasetId?: string;
}

/** Which version is meant; with neither, the one that `production` names, or else the newest. */
export interface VersionChoice {
  version?: number;
  alias?: string;
}

export interface AliasRecord {
  alias: string;
  version: number;
  updatedAt: string;
  updatedBy: string;
}

/** Always means the newest version, so nobody can point it elsewhere. */
const reservedAlias = 'latest';
const defaultAlias = 'production';

export class Registry {
  readonly #db: Db;
  readonly #artifacts: Pick<ArtifactStore, 'stage' | 'read'>;
  readonly #inspect: RegistryOptions['inspect'];
  readonly #changed: () => void;
  readonly #now: () => Date;

  constructor({ db, artifacts, inspect, changed, now = () => new Date() }: RegistryOptions) {
    this.#db = db;
    this.#artifacts = artifacts;
    this.#inspect = inspect;
    this.#changed = changed;
    this.#now = now;
  }

  /**
   * Registers bytes as the next version of a model, which comes into being with its first. All or nothing: the
   * blobs are durable first, and every row appears in one transaction. Bytes that are a version of this model
   * already give that version again, so an import can be repeated when its answer was lost.
   * Throws what `inspect` throws, INVALID_NAME, MODEL_NOT_FOUND (another organisation's name), NOT_FOUND (job or
   * data set), INVALID_REQUEST (the job made other bytes), STORE_FAILED.
   */
  async importVersion(wanted: Import): Promise<VersionRecord> {
    const { principal, organisation, bytes } = wanted;
    const organisationId = principal.organisationId;
    const name = checkName(wanted.name, 'model');
    if (organisation !== principal.organisation) throw modelNotFound(organisation, name);
    const sha256 = await sha256Of(bytes);
    const known = await findByContent(this.#db, organisationId, name, sha256);
    // What an ensemble is depends on its models, too: the same text may come to mean something else.
    if (known && known.format !== 'ensemble') return known;

    const lineage = await findLineage(this.#db, organisationId, sha256, wanted);
    const { format, signature, onnx } = await this.#inspect(bytes, principal);
    const artifact = await this.#artifacts.stage(organisationId, bytes, bytes.length);
    const served =
      onnx === bytes ? artifact : await this.#artifacts.stage(organisationId, asBuffer(onnx), onnx.length);

    const version = await this.#db.transaction().execute(async (trx) => {
      const sameBytes = await findByContent(trx, organisationId, name, sha256);
      await artifact.record(trx);
      if (served !== artifact) await served.record(trx);
      if (sameBytes && isDeepStrictEqual(sameBytes.signature, signature)) return sameBytes;
      const modelId = await this.#modelId(trx, principal, name);
      const newest = await latestOf(trx, modelId).executeTakeFirst();
      const row = {
        id: randomUUID(),
        model_id: modelId,
        number: (newest?.number ?? 0) + 1,
        format,
        artifact_sha256: sha256,
        onnx_sha256: served.sha256,
        size_bytes: bytes.length,
        signature: JSON.stringify(signature),
        created_at: this.#now().toISOString(),
        created_by: principal.member,
        job_id: lineage.jobId,
        dataset_id: lineage.datasetId,
      };
      await trx.insertInto('versions').values(row).execute();
      await this.#audit(trx, principal, organisationId, 'version.import', `${organisation}/${name}`, {
        version: row.number,
        sha256,
        format,
        ...lineage,
      });
      return toVersion(row);
    });
    if (version.number === 1) this.#changed();
    return version;
  }

  async findModel(organisation: string, name: string): Promise<ModelRecord | undefined> {
    const row = await models(this.#db)
      .where('organisations.name', '=', organisation)
      .where('models.name', '=', name)
      .executeTakeFirst();
    return row && toModel(row);
  }

  /** Those of the organisation itself, by name. */
  async listModels(organisationId: string): Promise<ModelRecord[]> {
    const rows = await models(this.#db).where('models.organisation_id', '=', organisationId).execute();
    return rows.map(toModel);
  }

  /** Those of others that the organisation may use now, by organisation and name. */
  async listGrantedModels(organisationId: string): Promise<ModelRecord[]> {
    const now = this.#now().toISOString();
    const rows = await models(this.#db)
      .where('models.id', 'in', (e) =>
        e
          .selectFrom('grants')
          .select('grants.model_id')
          .where('grants.grantee_organisation_id', '=', organisationId)
          .where('grants.revoked_at', 'is', null)
          .where((w) => w.or([w('grants.expires_at', 'is', null), w('grants.expires_at', '>', now)])),
      )
      .execute();
    return rows.map(toModel);
  }

  /** Throws VERSION_NOT_FOUND. */
  async getVersion(modelId: string, number: number): Promise<VersionRecord> {
    const row = await versionsOf(this.#db, modelId).where('number', '=', number).executeTakeFirst();
    if (!row) throw versionNotFound(`version ${number}`);
    return toVersion(row);
  }

  /** Oldest first. */
  async listVersions(modelId: string): Promise<VersionRecord[]> {
    const rows = await versionsOf(this.#db, modelId).orderBy('number').execute();
    return rows.map(toVersion);
  }

  /** Throws VERSION_NOT_FOUND (only for a model that does not exist). */
  async latestVersion(modelId: string): Promise<VersionRecord> {
    const row = await latestOf(this.#db, modelId).executeTakeFirst();
    if (!row) throw versionNotFound('a version');
    return toVersion(row);
  }

  /** Throws INVALID_NAME, VERSION_NOT_FOUND. */
  async setAlias(modelId: string, alias: string, number: number, by: Actor): Promise<AliasRecord> {
    checkName(alias, 'alias');
    if (alias === reservedAlias)
      throw new CommonwattError('INVALID_NAME', `alias ${alias} cannot be set`, {
        where: 'alias',
        hint: `${alias} always means the newest version; choose another alias, e.g. production`,
      });
    const at = this.#now().toISOString();
    await this.#db.transaction().execute(async (trx) => {
      const version = await versionsOf(trx, modelId).where('number', '=', number).executeTakeFirst();
      if (!version) throw versionNotFound(`version ${number}`);
      const model = await models(trx).where('models.id', '=', modelId).executeTakeFirstOrThrow();
      const target = { version_id: version.id, updated_at: at, updated_by: by.member };
      await trx
        .insertInto('aliases')
        .values({ model_id: modelId, name: alias, ...target })
        .onConflict((conflict) => conflict.columns(['model_id', 'name']).doUpdateSet(target))
        .execute();
      const subject = `${model.organisation}/${model.name}@${alias}`;
      await this.#audit(trx, by, model.organisation_id, 'alias.set', subject, { version: number });
    });
    return { alias, version: number, updatedAt: at, updatedBy: by.member };
  }

  /** By name. */
  async aliases(modelId: string): Promise<AliasRecord[]> {
    const rows = await this.#db
      .selectFrom('aliases')
      .innerJoin('versions', 'versions.id', 'aliases.version_id')
      .select(['aliases.name', 'versions.number', 'aliases.updated_at', 'aliases.updated_by'])
      .where('aliases.model_id', '=', modelId)
      .orderBy('aliases.name')
      .execute();
    return rows.map((row) => ({
      alias: row.name,
      version: row.number,
      updatedAt: row.updated_at,
      updatedBy: row.updated_by,
    }));
  }

  /** Throws VERSION_NOT_FOUND, INVALID_REQUEST (version and alias at once). */
  async resolve(modelId: string, { version, alias }: VersionChoice): Promise<VersionRecord> {
    if (version !== undefined && alias !== undefined)
      throw new CommonwattError('INVALID_REQUEST', 'both a version and an alias were named', {
        hint: 'name one of them, e.g. acme/digits:1 or acme/digits@production',
      });
    if (version !== undefined) return this.getVersion(modelId, version);
    if (alias === reservedAlias) return this.latestVersion(modelId);
    const row = await versionsOf(this.#db, modelId)
      .innerJoin('aliases', 'aliases.version_id', 'versions.id')
      .where('aliases.name', '=', alias ?? defaultAlias)
      .executeTakeFirst();
    if (row) return toVersion(row);
    if (alias === undefined) return this.latestVersion(modelId);
    throw versionNotFound(`alias ${alias}`);
  }

  /** What runners load. Throws STORE_FAILED when the bytes are lost or damaged. */
  async onnxBytes(version: VersionRecord): Promise<Buffer> {
    return this.#artifacts.read(await this.#ownerOf(version), version.onnxSha256);
  }

  /**
   * For export: `original` is what was imported. Throws UNSUPPORTED_FORMAT when the version never had that form,
   * STORE_FAILED.
   */
  async artifactBytes(version: VersionRecord, format: ArtifactFormat | 'original'): Promise<Buffer> {
    // What runners load of these is more than a model, or less.
    const composed = version.format === 'pipeline' || version.format === 'ensemble';
    if (format === 'onnx' && !composed) return this.onnxBytes(version);
    if (format !== 'original' && version.format !== format)
      throw new CommonwattError(
        'UNSUPPORTED_FORMAT',
        `version ${version.number} was imported as ${version.format} and has no ${format} form`,
        { where: 'format', hint: `ask for format=original${composed ? '' : ' or format=onnx'}` },
      );
    return this.#artifacts.read(await this.#ownerOf(version), version.artifactSha256);
  }

  async #ownerOf(version: VersionRecord): Promise<string> {
    const row = await models(this.#db).where('models.id', '=', version.modelId).executeTakeFirst();
    if (!row) throw versionNotFound(`version ${version.number}`);
    return row.organisation_id;
  }

  async #modelId(trx: Db, principal: Import['principal'], name: string): Promise<string> {
    const { organisationId } = principal;
    const existing = await models(trx)
      .where('models.organisation_id', '=', organisationId)
      .where('models.name', '=', name)
      .executeTakeFirst();
    if (existing) return existing.id;
    const row = {
      id: randomUUID(),
      organisation_id: organisationId,
      name,
      created_at: this.#now().toISOString(),
    };
    await trx.insertInto('models').values(row).execute();
    const subject = `${principal.organisation}/${name}`;
    await this.#audit(trx, principal, organisationId, 'model.create', subject, {});
    return row.id;
  }

  #audit(
    trx: Db,
    by: Actor,
    organisationId: string,
    action: string,
    subject: string,
    detail: Record<string, unknown>,
  ): Promise<void> {
    return recordAudit(trx, { actor: actorOf(by), organisationId, action, subject, detail }, this.#now());
  }
}

async function findByContent(db: Db, organisationId: string, name: string, sha256: string) {
  const row = await db
    .selectFrom('versions')
    .innerJoin('models', 'models.id', 'versions.model_id')
    .selectAll('versions')
    .where('models.organisation_id', '=', organisationId)
    .where('models.name', '=', name)
    .where('versions.artifact_sha256', '=', sha256)
    .orderBy('versions.number', 'desc')
    .executeTakeFirst();
  return row && toVersion(row);
}

function asBuffer({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length);
}

function modelNotFound(organisation: string, name: string): CommonwattError {
  return new CommonwattError('MODEL_NOT_FOUND', `model ${organisation}/${name} does not exist`, {
    where: 'model',
    hint: 'import into your own organisation, and check the name',
  });
}

function versionNotFound(what: string): CommonwattError {
  return new CommonwattError('VERSION_NOT_FOUND', `${what} of this model does not exist`, {
    where: 'version',
    hint: "list the model's versions and aliases to see what there is",
  });
}
