/**
 * The ledger as a manifest of the Impact Framework (Green Software Foundation): `if-run` computes carbon, embodied carbon
 * and SCI of each window again, from energy, PUE, intensity and the hardware's own figures. What the ledger booked stands
 * beside it as `ledger/…`; both are equal to 1e-9.
 */
import { stringify } from 'yaml';
import type { Basis } from '../basis.ts';
import { embodiedShare } from '../embodied.ts';
import { joulesPerKwh } from '../grid.ts';
import type { BookedWindow } from './windows.ts';

const secondsPerYear = 365 * 24 * 3600;

export interface ManifestFacts {
  windows: readonly BookedWindow[];
  /** The whole time in one, for the SCI score. */
  whole: BookedWindow;
  embodied: Basis['embodied'];
  /** Whose. */
  of: string;
}

export function manifestYaml(facts: ManifestFacts): string {
  const { whole, windows } = facts;
  const times = `${new Date(whole.fromMs).toISOString()} to ${new Date(whole.toMs).toISOString()}`;
  const row = (window: BookedWindow) => inputOf(window, facts.embodied);
  return stringify(
    {
      name: `commonwatt-${facts.of}`,
      description: `Energy and carbon of ${facts.of}, ${times}, from the ledger of Commonwatt; trainings are not included`,
      tags: {
        kind: 'commonwatt-ledger',
        basis: whole.basis,
        quality: whole.knownAs.qualities.join(' + '),
        method: whole.knownAs.methods.join(' + '),
        'method-version': whole.knownAs.methodVersions.join(' + '),
        zone: whole.knownAs.zones.join(' + '),
      },
      initialize: { plugins },
      tree: {
        children: {
          windows: { pipeline: { compute: toCarbon }, inputs: windows.map(row) },
          whole: {
            // Without requests there is no score, and the plug-in would call the carbon of it one.
            pipeline: { compute: whole.counts.requests > 0 ? [...toCarbon, 'score'] : toCarbon },
            inputs: [row(whole)],
          },
        },
      },
    },
    // Numbers as they are, however long the line.
    { lineWidth: 0 },
  );
}

const plugin = (method: string, config: object) => ({ path: 'builtin', method, config });
const product = (inputs: string[], output: string) =>
  plugin('Multiply', { 'input-parameters': inputs, 'output-parameter': output });

const plugins = {
  'energy-of-building': product(['energy-of-servers', 'pue'], 'energy'),
  operational: product(['energy', 'grid/carbon-intensity'], 'carbon-operational'),
  'embodied-seconds': product(
    ['device/carbon-embodied', 'time-reserved', 'resources-share'],
    'embodied-seconds',
  ),
  embodied: plugin('Divide', {
    numerator: 'embodied-seconds',
    denominator: 'device/expected-lifespan',
    output: 'carbon-embodied',
  }),
  'all-carbon': plugin('Sum', {
    'input-parameters': ['carbon-operational', 'carbon-embodied'],
    'output-parameter': 'carbon',
  }),
  score: plugin('Sci', { 'functional-unit': 'requests' }),
};
const toCarbon = ['energy-of-building', 'operational', 'embodied-seconds', 'embodied', 'all-carbon'];

function inputOf(window: BookedWindow, hardware: Basis['embodied']) {
  const { booked, platform, meteredS } = window;
  return {
    timestamp: new Date(window.fromMs).toISOString(),
    duration: Math.max(1, (window.toMs - window.fromMs) / 1000),
    'energy-of-servers': booked.energyJ / joulesPerKwh,
    pue: window.pue,
    'grid/carbon-intensity': window.gPerKwh ?? 0,
    'device/carbon-embodied': totalEmbodiedG(window, hardware),
    'device/expected-lifespan': hardware.lifeYears * secondsPerYear,
    'time-reserved': meteredS,
    'resources-share': platform.embodiedG > 0 ? booked.embodiedG / platform.embodiedG : 0,
    requests: window.counts.requests,
    'ledger/carbon-operational': booked.carbonG,
    'ledger/carbon-embodied': booked.embodiedG,
  };
}

/** As it is configured now, where that is what the window was booked with; else what its bookings imply. */
function totalEmbodiedG({ meteredS, platform }: BookedWindow, { grams, lifeYears }: Basis['embodied']) {
  const expected = embodiedShare(grams, lifeYears, meteredS);
  if (Math.abs(expected - platform.embodiedG) <= 1e-12 * expected || meteredS === 0) return grams;
  return (platform.embodiedG * lifeYears * secondsPerYear) / meteredS;
}
