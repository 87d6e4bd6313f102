/**
 * Moves of aliases. Promise: whoever calls by the alias is answered by the old version or by the new one, at every
 * moment: the new one is loaded and warmed up first, then the alias moves, then the old one is drained and leaves if
 * that is asked. Moves of one model follow one another.
 */
import { CommonwattError } from '../errors.ts';
import { actorOf } from '../gate/audit.ts';
import type { ModelRecord, VersionRecord } from '../models/models.ts';
import type { Registry } from '../models/registry.ts';
import type { Deployments } from './deployments.ts';
import type { GivenSettings } from './settings.ts';

export interface AliasMove {
  by: { organisation: string; member: string };
  model: ModelRecord;
  version: VersionRecord;
  alias: string;
  /** Serve the version first when it is not served. */
  deploy: boolean;
  settings?: GivenSettings | undefined;
  /** Stop serving the version that the alias named before, unless another alias names it. */
  retire: boolean;
}

export interface AliasMoved {
  alias: string;
  version: number;
  /** The version that is no longer served. */
  retired: number | null;
}

export interface AliasParts {
  registry: Pick<Registry, 'aliases' | 'setAlias'>;
  deployments: Pick<Deployments, 'create' | 'remove' | 'list' | 'routesChanged'>;
}

export class AliasMoves {
  readonly #parts: AliasParts;
  /** modelId → the last move under way. */
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor(parts: AliasParts) {
    this.#parts = parts;
  }

  /** Throws CONFLICT (callers of the alias would be left without an answer), and what deploying throws. */
  move(move: AliasMove): Promise<AliasMoved> {
    const { id } = move.model;
    const turn = (this.#turns.get(id) ?? Promise.resolve()).then(() => this.#move(move));
    const settled = turn
      .catch(() => undefined)
      .then(() => {
        if (this.#turns.get(id) === settled) this.#turns.delete(id);
      });
    this.#turns.set(id, settled);
    return turn;
  }

  async #move(move: AliasMove): Promise<AliasMoved> {
    const { registry, deployments } = this.#parts;
    const { model, version, alias, by, retire } = move;
    const aliases = await registry.aliases(model.id);
    const before = aliases.find((entry) => entry.alias === alias)?.version;
    await this.#serve(move, before);
    await registry.setAlias(model.id, alias, version.number, by);
    await deployments.routesChanged(model.id);
    const named = aliases.some((entry) => entry.alias !== alias && entry.version === before);
    const old = retire && !named && before !== version.number ? this.#deployed(model, before) : undefined;
    if (old) await deployments.remove(old.id, actorOf(by));
    return { alias, version: version.number, retired: old?.version ?? null };
  }

  async #serve({ model, version, alias, by, deploy, settings }: AliasMove, before: number | undefined) {
    if (deploy) {
      await this.#parts.deployments.create(model, version, actorOf(by), settings);
      return;
    }
    if (this.#deployed(model, version.number) || !this.#deployed(model, before)) return;
    const ref = `${model.organisation}/${model.name}`;
    throw new CommonwattError(
      'CONFLICT',
      `${ref}@${alias} answers requests with version ${before}, and version ${version.number} is not deployed`,
      {
        where: 'version',
        hint: `deploy it with the move ("deploy": true, \`commonwatt models alias ${ref} ${alias} ${version.number} --deploy\`)`,
      },
    );
  }

  #deployed({ id }: ModelRecord, version: number | undefined) {
    return this.#parts.deployments.list([id]).find((deployment) => deployment.version === version);
  }
}
