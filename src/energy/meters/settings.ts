/** The meter's part of the configuration: which one, and what each needs to be found. */
import { z } from 'zod';
import { curveFault, namedCurves } from './curves.ts';
import { energyUnits, powerUnits, type SensorUnit } from './quantity.ts';

/** Those that measure. */
export const sensorNames = [
  'rapl',
  'hwmon',
  'ipmi',
  'redfish',
  'plug',
  'json',
  'mqtt',
  'prometheus',
] as const;
/** auto: the most comprehensive sensor that answers, otherwise the estimate; off: nothing is metered (benchmarks). */
const meterNames = ['auto', ...sensorNames, 'cpu-time', 'off'] as const;
/** Those whose place is a URL. */
const urlMeters = ['redfish', 'plug', 'json', 'mqtt', 'prometheus'] as const;

const httpUrl = z.url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' });
const seconds = z.coerce.number().min(0.2).max(3600);
const text = z.string().min(1);

const access = {
  url: httpUrl,
  user: text.optional(),
  password: text.optional(),
  headers: z.record(z.string(), z.string()).optional(),
  /** false: any certificate is believed. */
  verifyTls: z.stringbool().or(z.boolean()).default(true),
  /** File with the certificates to trust (PEM). */
  ca: text.optional(),
};
const paths = {
  /** Where the counter stands in the answer, e.g. `StatusSNS.ENERGY.Total`. */
  energyPath: z.string().optional(),
  energyUnit: z.enum(energyUnits).default('kWh'),
  powerPath: z.string().optional(),
  powerUnit: z.enum(powerUnits).default('W'),
};
const covers = z.enum(['cpu', 'machine', 'wall']);
const hasPath = ({
  energyPath,
  powerPath,
}: {
  energyPath?: string | undefined;
  powerPath?: string | undefined;
}) => energyPath !== undefined || powerPath !== undefined;
const pathMissing = { error: 'say where the number stands: energyPath, powerPath or both' };
const sensorUnits = [...energyUnits, ...powerUnits] as [SensorUnit, ...SensorUnit[]];

export const meterSettings = {
  meter: z.enum(meterNames).default('auto'),
  /** Idle and full-load watts of this host; null: calibrated, or assumed from its processor, labelled so. */
  idleW: z.coerce.number().positive().nullable().default(null),
  maxW: z.coerce.number().positive().nullable().default(null),
  /** Watts between them, [utilisation, W] rising; or another tool's curve, which takes `tdpW`. */
  curve: z
    .union([
      z.enum(Object.keys(namedCurves) as [keyof typeof namedCurves, ...(keyof typeof namedCurves)[]]),
      z.array(z.tuple([z.number(), z.number()])).superRefine((curve, context) => {
        const fault = curveFault(curve);
        if (fault !== null) context.addIssue({ code: 'custom', message: fault });
      }),
    ])
    .nullable()
    .default(null),
  tdpW: z.coerce.number().positive().nullable().default(null),
  /** What the wall shows for each watt of RAPL's counters; null: only what they count. */
  platformFactor: z.coerce.number().min(1).max(10).nullable().default(null),
  /** auto: what is found; accelerators that nobody meters are in no figure of a CPU meter. */
  accelerators: z.enum(['auto', 'dcgm', 'nvidia-smi', 'hwmon', 'none']).default('auto'),
  hwmon: z.strictObject({ chip: text.nullable().default(null) }).prefault({}),
  ipmi: z
    .strictObject({
      command: text.default('ipmitool'),
      host: text.nullable().default(null),
      user: text.nullable().default(null),
      password: text.nullable().default(null),
      everyS: seconds.default(5),
    })
    .prefault({}),
  redfish: z
    .strictObject({
      ...access,
      auth: z.enum(['basic', 'session']).default('basic'),
      chassis: text.optional(),
      everyS: seconds.default(5),
    })
    .nullable()
    .default(null),
  plug: z
    .strictObject({
      ...access,
      kind: z.enum(['tasmota', 'shelly', 'shelly1']).default('tasmota'),
      channel: z.coerce.number().int().min(0).default(0),
      everyS: seconds.default(1),
    })
    .nullable()
    .default(null),
  json: z
    .strictObject({ ...access, ...paths, covers: covers.default('wall'), everyS: seconds.default(1) })
    .refine(hasPath, pathMissing)
    .nullable()
    .default(null),
  mqtt: z
    .strictObject({
      url: z.url({ protocol: /^(mqtts?|wss?)$/, error: 'must be an mqtt:// or mqtts:// URL' }),
      user: text.optional(),
      password: text.optional(),
      verifyTls: z.stringbool().or(z.boolean()).default(true),
      topic: text,
      ...paths,
      covers: covers.default('wall'),
      everyS: seconds.default(10),
    })
    .refine(hasPath, pathMissing)
    .nullable()
    .default(null),
  prometheus: z
    .strictObject({
      ...access,
      metric: text,
      labels: z.record(z.string(), z.string()).default({}),
      unit: z.enum(sensorUnits),
      covers: covers.default('cpu'),
      everyS: seconds.default(1),
    })
    .nullable()
    .default(null),
  dcgm: z
    .strictObject({ ...access, everyS: seconds.default(1) })
    .nullable()
    .default(null),
};

const meterConfig = z.object(meterSettings);
export type MeterConfig = z.infer<typeof meterConfig>;

/** Variables for what is asked for most; the rest stands in the file. */
const variables = {
  COMMONWATT_METER_URL: 'url',
  COMMONWATT_METER_USER: 'user',
  COMMONWATT_METER_PASSWORD: 'password',
};

/** Puts the environment's place and sign-in of the demanded meter, and of a DCGM exporter, into the raw settings. */
export function readMeterEnvironment(
  env: NodeJS.ProcessEnv,
  energy: Record<string, unknown>,
  origin: Map<string, string>,
): void {
  const put = (section: string, setting: string, variable: string) => {
    const value = env[variable];
    if (value === undefined || value === '') return;
    const before = energy[section];
    energy[section] = { ...(typeof before === 'object' ? before : {}), [setting]: value };
    origin.set(`energy.${section}.${setting}`, variable);
  };
  const { meter } = energy;
  const section = urlMeters.find((name) => name === meter) ?? (meter === 'ipmi' ? 'ipmi' : undefined);
  if (section !== undefined)
    for (const [variable, setting] of Object.entries(variables))
      put(section, section === 'ipmi' && setting === 'url' ? 'host' : setting, variable);
  put('dcgm', 'url', 'COMMONWATT_DCGM_URL');
}

/** For people: the settings without what is secret in them. */
export function hideSecrets(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(hideSecrets);
  if (typeof value === 'string')
    return value
      .replace(/^([a-z]+:\/\/)[^/@\s]+@/i, '$1***@')
      .replace(/([?&][^=&]*(?:pass|token|key|secret)[^=&]*=)[^&]+/gi, '$1***');
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => {
      const secret =
        /(password|token|secret|headers|apikey)$/i.test(name) && inner !== null && inner !== undefined;
      return [name, secret ? '***' : hideSecrets(inner)];
    }),
  );
}
