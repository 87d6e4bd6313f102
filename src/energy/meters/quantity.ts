/** Numbers of sensors with their units, and where in an answer they stand. */
const joulesPer = { J: 1, mJ: 1e-3, uJ: 1e-6, Wh: 3600, kWh: 3.6e6, Wmin: 60 } as const;
const wattsPer = { W: 1, mW: 1e-3, uW: 1e-6, kW: 1e3 } as const;

export type EnergyUnit = keyof typeof joulesPer;
export type PowerUnit = keyof typeof wattsPer;
export type SensorUnit = EnergyUnit | PowerUnit;

export const energyUnits = Object.keys(joulesPer) as [EnergyUnit, ...EnergyUnit[]];
export const powerUnits = Object.keys(wattsPer) as [PowerUnit, ...PowerUnit[]];

/** Example: 6.404 kWh → 23,054,400 J. */
export const toJoules = (value: number, unit: EnergyUnit) => value * joulesPer[unit];
export const toWatts = (value: number, unit: PowerUnit) => value * wattsPer[unit];

export function isEnergyUnit(unit: SensorUnit): unit is EnergyUnit {
  return Object.hasOwn(joulesPer, unit);
}

/**
 * A number at a dotted path, e.g. `StatusSNS.ENERGY.Total` or `meters.0.power`; undefined: there is none. A key that
 * has a dot itself is found as well.
 */
export function numberAt(value: unknown, path: string): number | undefined {
  const found = valueAt(value, path);
  if (typeof found === 'number') return Number.isFinite(found) ? found : undefined;
  // Some sensors send their numbers as text.
  if (typeof found !== 'string' || !/^\s*[-+]?\d+(\.\d+)?([eE][-+]?\d+)?\s*$/.test(found)) return undefined;
  return Number(found);
}

function valueAt(value: unknown, path: string): unknown {
  if (path === '') return value;
  if (typeof value !== 'object' || value === null) return undefined;
  if (Object.hasOwn(value, path)) return (value as Record<string, unknown>)[path];
  for (let dot = path.indexOf('.'); dot !== -1; dot = path.indexOf('.', dot + 1)) {
    const head = path.slice(0, dot);
    if (!Object.hasOwn(value, head)) continue;
    const found = valueAt((value as Record<string, unknown>)[head], path.slice(dot + 1));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Energy and power of an answer; throws when it has neither. */
export function readPaths(
  answer: unknown,
  paths: {
    energyPath?: string | undefined;
    energyUnit: EnergyUnit;
    powerPath?: string | undefined;
    powerUnit: PowerUnit;
  },
): { counterJ?: number; powerW?: number } {
  const energy = paths.energyPath === undefined ? undefined : numberAt(answer, paths.energyPath);
  const power = paths.powerPath === undefined ? undefined : numberAt(answer, paths.powerPath);
  if (energy === undefined && power === undefined) {
    const looked = [paths.energyPath, paths.powerPath].filter((path) => path !== undefined).join(' or ');
    throw new Error(`the answer has no number at ${looked}: ${excerpt(answer)}`);
  }
  return {
    ...(energy === undefined ? {} : { counterJ: toJoules(energy, paths.energyUnit) }),
    ...(power === undefined ? {} : { powerW: toWatts(power, paths.powerUnit) }),
  };
}

export function excerpt(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
}
