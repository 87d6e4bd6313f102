/**
 * Plugs and power strips over HTTP, in the forms of common firmwares, and any JSON by paths. At the wall everything is
 * included. Counters are preferred, and power shapes what lies between their steps.
 */
import { z } from 'zod';
import type { Coverage } from './meter.ts';
import type { Source, SourceAnswer } from './polled.ts';
import { type EnergyUnit, excerpt, type PowerUnit, readPaths } from './quantity.ts';
import { Web, type WebAccess } from './web.ts';

export type PlugKind = 'tasmota' | 'shelly' | 'shelly1';

export interface PlugSettings extends WebAccess {
  kind: PlugKind;
  /** Of a power strip: which outlet, from 0. */
  channel: number;
  everyS: number;
}

export interface JsonSettings extends WebAccess {
  energyPath?: string | undefined;
  energyUnit: EnergyUnit;
  powerPath?: string | undefined;
  powerUnit: PowerUnit;
  covers: Exclude<Coverage, 'accelerators'>;
  everyS: number;
}

/** Meters for billing are good to 1 or 2 %; plugs, as they come, to about 3 %. */
const plugInterval = { low: 0.97, high: 1.03 };

export function plugSource(settings: PlugSettings): Source {
  const { kind, channel, everyS } = settings;
  const web = new Web(signIn(settings));
  const path = pathOf(settings);
  return {
    name: kind === 'tasmota' ? 'tasmota' : 'shelly',
    methodVersion: '1',
    covers: 'wall',
    interval: plugInterval,
    told: `the plug ${web.shownUrl}`,
    everyS,
    ask: async (signal) => parsePlug(kind, await web.getJson(path, signal), channel),
  };
}

/** Tasmota takes its password as parameters; the others take it as HTTP has it. Both firmwares call the user admin. */
function signIn({ kind, ...access }: PlugSettings): WebAccess {
  if (kind === 'tasmota') return { ...access, user: undefined, password: undefined };
  if (access.password === undefined) return access;
  return { ...access, user: access.user ?? 'admin', digestOnly: kind === 'shelly' };
}

function pathOf({ kind, channel, user, password }: PlugSettings): string {
  if (kind === 'shelly') return `/rpc/Switch.GetStatus?id=${channel}`;
  if (kind === 'shelly1') return `/meter/${channel}`;
  const query = new URLSearchParams({
    ...(password ? { user: user ?? 'admin', password } : {}),
    cmnd: 'Status 8',
  });
  return `/cm?${query.toString().replaceAll('+', '%20')}`;
}

const perOutlet = z.union([z.number(), z.array(z.number())]);
const tasmotaEnergy = z.object({ Total: perOutlet.optional(), Power: perOutlet.optional() });
const tasmotaShape = z.object({ StatusSNS: z.object({ ENERGY: tasmotaEnergy }) });
const shellyShape = z.object({
  apower: z.number().optional(),
  aenergy: z.object({ total: z.number() }).optional(),
});
const shelly1Shape = z.object({ power: z.number(), total: z.number(), is_valid: z.boolean().default(true) });

/**
 * Tasmota: Total in kWh, Power in W. Shelly since generation 2: aenergy.total in Wh, apower in W. Shelly of generation
 * 1: total in watt-minutes, power in W.
 */
export function parsePlug(kind: PlugKind, answer: unknown, channel = 0): SourceAnswer {
  if (kind === 'tasmota') {
    const parsed = tasmotaShape.safeParse(answer);
    if (!parsed.success) throw unlike('a Tasmota plug that meters', answer);
    return ofTasmota(parsed.data.StatusSNS.ENERGY, channel);
  }
  if (kind === 'shelly1') {
    const parsed = shelly1Shape.safeParse(answer);
    if (!parsed.success) throw unlike('a Shelly plug of generation 1', answer);
    if (!parsed.data.is_valid) throw new Error('the plug says that its own reading is not valid');
    return { counterJ: parsed.data.total * 60, powerW: parsed.data.power };
  }
  const parsed = shellyShape.safeParse(answer);
  const { apower, aenergy } = parsed.success ? parsed.data : {};
  if (apower === undefined && !aenergy) throw unlike('a Shelly plug that meters', answer);
  return {
    ...(aenergy ? { counterJ: aenergy.total * 3600 } : {}),
    // A meter that was put in the other way round counts below 0.
    ...(apower === undefined ? {} : { powerW: Math.abs(apower) }),
  };
}

function ofTasmota({ Total, Power }: z.infer<typeof tasmotaEnergy>, channel: number): SourceAnswer {
  const of = (value: number | number[] | undefined) => (Array.isArray(value) ? value[channel] : value);
  // A strip has a total for each outlet, or one for all of them that says nothing of a single one.
  const total = Array.isArray(Power) && !Array.isArray(Total) ? undefined : of(Total);
  const power = of(Power);
  if (total === undefined && power === undefined) throw new Error(`the plug has no outlet ${channel}`);
  return {
    ...(total === undefined ? {} : { counterJ: total * 3.6e6 }),
    ...(power === undefined ? {} : { powerW: power }),
  };
}

export function jsonSource(settings: JsonSettings): Source {
  const web = new Web(settings);
  return {
    name: 'json',
    methodVersion: '1',
    covers: settings.covers,
    interval: settings.covers === 'wall' ? plugInterval : { low: 0.9, high: 1.1 },
    told: `${web.shownUrl}, which covers ${coverageTold[settings.covers]}`,
    everyS: settings.everyS,
    ask: async (signal) => readPaths(await web.getJson(undefined, signal), settings),
  };
}

export const coverageTold: Record<Coverage, string> = {
  cpu: 'the CPU only',
  machine: 'the whole machine',
  wall: 'everything at the wall',
  accelerators: 'the accelerators only',
};

function unlike(what: string, answer: unknown): Error {
  return new Error(`this is no answer of ${what}: ${excerpt(answer)}`);
}
