/** Sources in layers: what the first does not know the next one says, and in the end the yearly average. */
import type { Intensity } from '../grid.ts';
import { type Piece, pieces } from './series.ts';
import type { GridSource } from './source.ts';

interface Layer {
  readonly source: GridSource;
  readonly points: Parameters<typeof pieces>[0];
  readonly problem: string | null;
}

interface Limits {
  staleAfterMs: number;
  maxAgeMs: number;
}

/** A piece and who said so; `layer` null: the yearly average. */
interface Part extends Piece {
  layer: Layer | null;
}

export class Layers {
  readonly #layers: readonly Layer[];
  readonly #yearly: Intensity;
  readonly #limits: Limits;

  constructor(layers: readonly Layer[], yearly: Intensity, limits: Limits) {
    this.#layers = layers;
    this.#yearly = yearly;
    this.#limits = limits;
  }

  /** Mean of the values, each weighed by how long it held. A time without length is taken as 1 ms. */
  over(startMs: number, endMs: number): Intensity {
    if (this.#layers.length === 0) return this.#yearly;
    const parts = this.#parts(startMs, Math.max(endMs, startMs + 1), this.#limits.maxAgeMs);
    let weighted = 0;
    let total = 0;
    for (const part of parts) {
      const lengthMs = part.endMs - part.startMs;
      weighted += lengthMs * this.#gPerKwh(part);
      total += lengthMs;
    }
    return this.#label(parts, weighted / total, total);
  }

  /** Without what is carried on: only what is known of the time itself. */
  known(fromMs: number, toMs: number): { startMs: number; endMs: number; gPerKwh: number }[] {
    if (toMs <= fromMs) return [];
    const slot = (part: Part) => ({ startMs: part.startMs, endMs: part.endMs, gPerKwh: this.#gPerKwh(part) });
    const parts = this.#parts(fromMs, toMs, 0);
    return (this.#layers.length === 0 ? parts : parts.filter(({ layer }) => layer !== null)).map(slot);
  }

  #gPerKwh({ point }: Part): number {
    return point?.gPerKwh ?? this.#yearly.value;
  }

  #parts(startMs: number, endMs: number, carryMs: number): Part[] {
    let parts: Part[] = [{ startMs, endMs, point: null, layer: null }];
    for (const layer of this.#layers) {
      parts = parts.flatMap((part) =>
        part.point
          ? [part]
          : pieces(layer.points, part.startMs, part.endMs, carryMs).map((piece) => ({
              ...piece,
              layer: piece.point ? layer : null,
            })),
      );
    }
    return parts;
  }

  #label(parts: readonly Part[], value: number, totalMs: number): Intensity {
    const lengths = new Map<Layer | null, number>();
    for (const { layer, startMs, endMs } of parts)
      lengths.set(layer, (lengths.get(layer) ?? 0) + endMs - startMs);
    const bySize = [...lengths].sort(([, a], [, b]) => b - a);
    const main = bySize[0]?.[0] ?? null;
    const percent = (lengthMs: number) => `${Math.round((lengthMs / totalMs) * 1000) / 10} %`;
    const nameOf = (layer: Layer | null) => layer?.source.description ?? this.#yearly.source;
    const last = parts.at(-1)?.point ?? null;
    const { kind, scope, zone } = main?.source ?? this.#yearly;
    return {
      zone,
      value,
      source:
        bySize.length === 1
          ? nameOf(main)
          : bySize.map(([layer, lengthMs]) => `${percent(lengthMs)} ${nameOf(layer)}`).join(', '),
      kind,
      scope,
      estimated: parts.some(({ point }) => point?.estimated ?? true),
      stale: parts.some(
        ({ point, endMs }) => point !== null && endMs > point.endMs + this.#limits.staleAfterMs,
      ),
      atMs: last?.startMs ?? null,
      instead: this.#instead(bySize, percent),
    };
  }

  /** Why the first source is not (all of) what was used, and whether something of another kind was. */
  #instead(
    bySize: readonly (readonly [Layer | null, number])[],
    percent: (lengthMs: number) => string,
  ): string | null {
    const first = this.#layers[0];
    if (!first || (bySize.length === 1 && bySize[0]?.[0] === first)) return null;
    const reason = `${first.source.name} has no value for this time${first.problem ? ` (${first.problem})` : ''}`;
    const yearly = bySize.find(([layer]) => layer === null);
    if (!yearly) return reason;
    const { kind, scope, zone } = this.#yearly;
    const other = kind !== first.source.kind || scope !== first.source.scope;
    const labelled = other
      ? `; the yearly average of ${zone} stands in for ${percent(yearly[1])} of it, an ${kind}, ${scope} figure beside ${first.source.kind}, ${first.source.scope} ones`
      : `; the yearly average of ${zone} stands in for ${percent(yearly[1])} of it`;
    return `${reason}${labelled}`;
  }
}
