/**
 * One schema for the configuration file (`commonwatt.yaml`, or the file named by COMMONWATT_CONFIG), the
 * environment (COMMONWATT_*) and flags; later ones win. Wrong values are refused with where they came from.
 */
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { formNames } from './energy/forms/forms.ts';
import { gridSettings } from './energy/grid/settings.ts';
import { hardwareSettings } from './energy/hardware.ts';
import { impactFunctionSettings } from './energy/impact-function.ts';
import { meterSettings, readMeterEnvironment } from './energy/meters/settings.ts';
import { reboundSettings } from './energy/rebound.ts';
import { CommonwattError } from './errors.ts';
import { regionsSettings } from './serve/regions.ts';
import { givenSettings } from './serve/settings.ts';

const port = z.coerce.number().int().min(0).max(65535);

const energyFields = z.strictObject({
  ...meterSettings,
  /** This host's name in the ledger; null: its own. */
  node: z.string().min(1).max(100).nullable().default(null),
  /** Power usage effectiveness of the building, ≥ 1. Null: unknown, 1 is used and labelled as assumed. */
  pue: z.coerce.number().min(1).max(5).nullable().default(null),
  /** Electricity zone: an ISO 3166 alpha-3 country code or WORLD. */
  zone: z.string().default('WORLD'),
  /** Where intensities come from that follow the hours, e.g. `carbonintensity-uk, yearly` (docs/grid.md). */
  grid: gridSettings.prefault({}),
  /** Litres per kWh of IT energy on site; null: unknown. */
  wueOnSite: z.coerce.number().min(0).nullable().default(null),
  /** Litres per kWh of electricity generated; null: unknown. */
  wueOffSite: z.coerce.number().min(0).nullable().default(null),
  /** Embodied carbon of this host; null: of `hardware`, else estimated from its CPUs and memory. */
  embodiedKgCo2e: z.coerce.number().positive().nullable().default(null),
  /** A known machine such as `8-gpu-server`, or its parts (docs/grid.md). */
  hardware: hardwareSettings.nullable().default(null),
  /** Null: of the hardware, else 4. */
  lifeYears: z.coerce.number().positive().nullable().default(null),
  /** f(RUR) of the operator: `{ curve: [[0, 40], [1, 120]] }` (use, watts) or `{ expression: … }`; null: from the watts. */
  impactFunction: impactFunctionSettings.default(null),
  /** The part of the demand that sharing itself caused; it saves nothing. */
  rebound: reboundSettings,
  /** Ledger lines older than this are packed: small, slower to read, nothing lost. */
  ledgerDetailDays: z.coerce.number().min(1).max(3650).default(7),
  /** Lines older than this are dropped, their sums never; null: none is. */
  ledgerKeepDays: z.coerce.number().min(1).max(36500).nullable().default(null),
});

const energySchema = energyFields.refine(
  ({ idleW, maxW }) => idleW === null || maxW === null || maxW >= idleW,
  { path: ['maxW'], error: 'is below idleW: a host draws at least as much at full load as without work' },
);

/** What answers carry where their callers ask for nothing else. */
const answersSchema = z.strictObject({
  forms: z.array(z.enum(formNames)).default(['headers', 'impact', 'timing']),
  /** Every answer has a signed receipt. */
  receipts: z.boolean().default(false),
  /** Who signs receipts, best the public URL of this server; null: a random id of the installation. */
  issuer: z.string().min(1).max(200).nullable().default(null),
});

export const configSchema = z.strictObject({
  host: z.string().min(1).default('127.0.0.1'),
  port: port.default(8080),
  grpcPort: port.default(8081),
  /** Processes that do HTTP; auto: as the host has cores. One: in the server itself. */
  gateways: z.union([z.literal('auto'), z.coerce.number().int().min(1).max(64)]).default(1),
  /** Where everything that must survive lives. */
  data: z.string().min(1).default('.commonwatt'),
  logLevel: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  /** Largest request body of an inference, bytes; artifacts and data sets have `maxArtifactBytes`. */
  maxBodyBytes: z.coerce
    .number()
    .int()
    .positive()
    .default(16 * 1024 * 1024),
  maxArtifactBytes: z.coerce
    .number()
    .int()
    .positive()
    .default(4 * 1024 * 1024 * 1024),
  /** Rows computed in one go, and requests that may wait for one deployment. */
  maxBatchSize: z.coerce.number().int().positive().default(128),
  maxQueue: z.coerce.number().int().positive().default(4096),
  /** Answers that are kept to be used again, bytes over all models; 0: none. */
  cacheBytes: z.coerce
    .number()
    .int()
    .min(0)
    .default(64 * 1024 * 1024),
  /** Bytes that models may hold in memory; auto: half of what this host or its container has. */
  memoryBudgetBytes: z.union([z.literal('auto'), z.coerce.number().int().positive()]).default('auto'),
  /** How long a request waits for a model that is loaded for it, s. */
  loadTimeoutS: z.coerce.number().positive().max(3600).default(60),
  /** How long it goes on taking requests after it was told to stop, saying that it is not ready, ms. */
  drainDelayMs: z.coerce.number().int().min(0).max(600_000).default(0),
  /** Processes that compute, and threads of one computation; auto: as the host has cores. */
  runners: z.union([z.literal('auto'), z.coerce.number().int().min(1).max(64)]).default('auto'),
  runnerThreads: z.union([z.literal('auto'), z.coerce.number().int().min(1).max(256)]).default('auto'),
  /** A runner that grows beyond is ended; null: four fifths of the memory of the host or its container. */
  runnerMemoryLimitBytes: z.coerce.number().int().positive().nullable().default(null),
  /** A computation that takes longer is taken for a hang: its runner is ended, s. */
  runnerHangS: z.coerce.number().positive().max(86_400).default(30),
  /** For what a deployment does not settle itself, e.g. `idleUnloadS: 60`. */
  deployments: givenSettings.prefault({}),
  /** Fewer, fuller runners: off, proposed to the operator, or performed as well. */
  consolidation: z.enum(['off', 'propose', 'perform']).default('propose'),
  /** Other clusters that serve the same models (docs/carbon-aware.md). */
  regions: regionsSettings.prefault({}),
  energy: energySchema.prefault({}),
  answers: answersSchema.prefault({}),
});

export type Config = z.infer<typeof configSchema>;

/** Environment variable → path in the schema. */
const environment: Record<string, readonly [keyof Config, string?]> = {
  COMMONWATT_HOST: ['host'],
  COMMONWATT_PORT: ['port'],
  COMMONWATT_GRPC_PORT: ['grpcPort'],
  COMMONWATT_GATEWAYS: ['gateways'],
  COMMONWATT_DATA: ['data'],
  COMMONWATT_LOG_LEVEL: ['logLevel'],
  COMMONWATT_MAX_BODY_BYTES: ['maxBodyBytes'],
  COMMONWATT_MAX_BATCH_SIZE: ['maxBatchSize'],
  COMMONWATT_CACHE_BYTES: ['cacheBytes'],
  COMMONWATT_MEMORY_BUDGET_BYTES: ['memoryBudgetBytes'],
  COMMONWATT_LOAD_TIMEOUT_S: ['loadTimeoutS'],
  COMMONWATT_DRAIN_DELAY_MS: ['drainDelayMs'],
  COMMONWATT_RUNNERS: ['runners'],
  COMMONWATT_RUNNER_THREADS: ['runnerThreads'],
  COMMONWATT_RUNNER_MEMORY_LIMIT_BYTES: ['runnerMemoryLimitBytes'],
  COMMONWATT_RUNNER_HANG_S: ['runnerHangS'],
  COMMONWATT_CONSOLIDATION: ['consolidation'],
  COMMONWATT_METER: ['energy', 'meter'],
  COMMONWATT_IDLE_W: ['energy', 'idleW'],
  COMMONWATT_MAX_W: ['energy', 'maxW'],
  COMMONWATT_TDP_W: ['energy', 'tdpW'],
  COMMONWATT_PLATFORM_FACTOR: ['energy', 'platformFactor'],
  COMMONWATT_ACCELERATORS: ['energy', 'accelerators'],
  COMMONWATT_NODE: ['energy', 'node'],
  COMMONWATT_PUE: ['energy', 'pue'],
  COMMONWATT_ZONE: ['energy', 'zone'],
  COMMONWATT_GRID: ['energy', 'grid'],
  COMMONWATT_HARDWARE: ['energy', 'hardware'],
  COMMONWATT_LEDGER_DETAIL_DAYS: ['energy', 'ledgerDetailDays'],
  COMMONWATT_LEDGER_KEEP_DAYS: ['energy', 'ledgerKeepDays'],
};

export function loadConfig(env: NodeJS.ProcessEnv = process.env, flags: Partial<Config> = {}): Config {
  const raw: Record<string, unknown> = readConfigFile(env.COMMONWATT_CONFIG);
  const energy: Record<string, unknown> = { ...(raw.energy as object | undefined) };
  const origin = new Map<string, string>();
  for (const [variable, [key, inner]] of Object.entries(environment)) {
    const value = env[variable];
    if (value === undefined || value === '') continue;
    origin.set(inner ? `${key}.${inner}` : key, variable);
    if (inner) energy[inner] = value;
    else raw[key] = value;
  }
  readMeterEnvironment(env, energy, origin);
  const parsed = configSchema.safeParse({ ...raw, energy, ...flags });
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const where = issue?.path.join('.') ?? '';
    throw new CommonwattError(
      'INVALID_CONFIG',
      `configuration ${where || 'file'}: ${issue?.message ?? 'not valid'}`,
      {
        where: origin.get(where) ?? (where || 'commonwatt.yaml'),
        hint: `set ${origin.get(where) ?? (where || 'the file')} to a valid value; \`commonwatt doctor\` lists them all`,
      },
    );
  }
  return { ...parsed.data, data: resolve(parsed.data.data) };
}

function readConfigFile(named: string | undefined): Record<string, unknown> {
  const file = named ?? 'commonwatt.yaml';
  if (!existsSync(file)) {
    if (named)
      throw new CommonwattError('INVALID_CONFIG', `configuration file ${named} does not exist`, {
        where: 'COMMONWATT_CONFIG',
      });
    return {};
  }
  try {
    const content: unknown = parseYaml(readFileSync(file, 'utf8'));
    if (content === null) return {};
    if (typeof content === 'object' && !Array.isArray(content)) return content as Record<string, unknown>;
  } catch (cause) {
    throw new CommonwattError('INVALID_CONFIG', `configuration file ${file}: ${(cause as Error).message}`, {
      where: file,
      cause,
    });
  }
  throw new CommonwattError('INVALID_CONFIG', `configuration file ${file} must be a mapping of settings`, {
    where: file,
  });
}
