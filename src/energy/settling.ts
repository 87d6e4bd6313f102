/**
 * Has a figure settled? The energy per request of a model, over its last 100 windows (metered intervals with a request
 * of it), and how far the mean of such windows is to be trusted.
 *
 * Windows weigh as many requests as they have: mean m = ΣE / ΣN, variance s² = Σ N (E/N − m)² / ΣN · n/(n − 1), with n
 * the effective number of windows (ΣN)² / ΣN² (Kish). Coefficient of variation CoV = s / m; the half-width of the 95 %
 * interval of the mean, relative, is 1.96 · CoV / √n. Settled: 100 windows, and a half-width of at most 10 %.
 * Example: 100 windows of one request, half of 1 J and half of 3 J: m = 2, s² = 100/99, CoV = .5025, half-width 9.85 %.
 */
export interface Settling {
  windows: number;
  /** Null: fewer than two windows, or nothing used. */
  coefficientOfVariation: number | null;
  settled: boolean;
}

const windowsKept = 100;
const allowedHalfWidth = 0.1;
const normal95 = 1.96;

export interface Window {
  energyJ: number;
  requests: number;
}

export function settlingOf(windows: readonly Window[]): Settling {
  let energyJ = 0;
  let requests = 0;
  let squares = 0;
  for (const window of windows) {
    energyJ += window.energyJ;
    requests += window.requests;
    squares += window.requests ** 2;
  }
  const unsettled = { windows: windows.length, coefficientOfVariation: null, settled: false };
  if (windows.length < 2 || !(energyJ > 0)) return unsettled;
  const mean = energyJ / requests;
  const effective = requests ** 2 / squares;
  if (effective <= 1) return unsettled;
  let spread = 0;
  for (const window of windows) spread += window.requests * (window.energyJ / window.requests - mean) ** 2;
  const variance = (spread / requests) * (effective / (effective - 1));
  const coefficientOfVariation = Math.sqrt(variance) / mean;
  const halfWidth = (normal95 * coefficientOfVariation) / Math.sqrt(effective);
  return {
    windows: windows.length,
    coefficientOfVariation,
    settled: windows.length >= windowsKept && halfWidth <= allowedHalfWidth,
  };
}

/** The last windows of each model. */
export class SettlingWindows {
  readonly #windows = new Map<string, Window[]>();

  /** What an interval's requests of a model were given; without requests it is no window. */
  add(modelId: string, { energyJ, requests }: Window): void {
    if (!(requests > 0) || !Number.isFinite(energyJ)) return;
    const own = this.#windows.get(modelId) ?? [];
    this.#windows.set(modelId, own);
    own.push({ energyJ, requests });
    if (own.length > windowsKept) own.shift();
  }

  of(modelId: string): Settling {
    return settlingOf(this.#windows.get(modelId) ?? []);
  }

  /** Windows from before those that it has. */
  addEarlier(modelId: string, { energyJ, requests }: Window): void {
    const own = this.#windows.get(modelId) ?? [];
    if (own.length >= windowsKept || !(requests > 0)) return;
    this.#windows.set(modelId, own);
    own.unshift({ energyJ, requests });
  }

  /** Of every model that has a window, by model id. */
  all(): Record<string, Settling> {
    return Object.fromEntries([...this.#windows].map(([modelId, windows]) => [modelId, settlingOf(windows)]));
  }
}
