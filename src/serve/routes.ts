/** Which deployed version answers: by number, by alias, else `production`, else the newest. */
import { CommonwattError } from '../errors.ts';
import type { Route, ServedVersion } from './serve.ts';

interface Routed {
  served: ServedVersion;
  /** False: being made, or lent for a while; no route leads there. */
  routed: boolean;
}

export class Routes<L extends Routed> {
  /** modelId → its deployments; few each. */
  readonly #ofModel = new Map<string, L[]>();
  /** modelId → alias → version number. */
  readonly #aliases = new Map<string, ReadonlyMap<string, number>>();

  add(live: L): void {
    const { modelId } = live.served;
    this.#ofModel.set(modelId, [...(this.#ofModel.get(modelId) ?? []), live]);
  }

  remove(live: L): void {
    const { modelId } = live.served;
    const rest = (this.#ofModel.get(modelId) ?? []).filter((other) => other !== live);
    if (rest.length > 0) this.#ofModel.set(modelId, rest);
    else {
      this.#ofModel.delete(modelId);
      this.#aliases.delete(modelId);
    }
  }

  setAliases(modelId: string, aliases: ReadonlyMap<string, number>): void {
    this.#aliases.set(modelId, aliases);
  }

  /** Newest first. */
  ofModel(modelId: string): L[] {
    const all = (this.#ofModel.get(modelId) ?? []).filter(({ routed }) => routed);
    return all.sort((a, b) => b.served.version - a.served.version);
  }

  /** Throws VERSION_NOT_FOUND when nothing such is deployed. On the path of every request. */
  find(modelId: string, { version, alias }: Route): L {
    const wanted = version ?? this.#aliases.get(modelId)?.get(alias ?? 'production');
    if (alias !== undefined && wanted === undefined && alias !== 'latest') throw notServed(`alias ${alias}`);
    let newest: L | undefined;
    for (const live of this.#ofModel.get(modelId) ?? []) {
      if (!live.routed) continue;
      if (live.served.version === wanted) return live;
      if (!newest || live.served.version > newest.served.version) newest = live;
    }
    // An alias that points to a version nobody serves must not silently become another version.
    if (wanted !== undefined || !newest)
      throw notServed(wanted === undefined ? 'a version' : `version ${wanted}`);
    return newest;
  }
}

export function notServed(what: string): CommonwattError {
  return new CommonwattError('VERSION_NOT_FOUND', `${what} of this model is not deployed`, {
    hint: 'deploy it with `commonwatt deploy organisation/model:version`',
  });
}
