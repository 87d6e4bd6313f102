/**
 * A server's management controller over Redfish (DMTF DSP0266): EnvironmentMetrics (kWh counter, watts) where it has
 * them, otherwise Power/PowerControl. Chassis nest, so one is read, never their sum.
 */
import { z } from 'zod';
import type { Source, SourceAnswer } from './polled.ts';
import { Web, type WebAccess } from './web.ts';

export interface RedfishSettings extends WebAccess {
  user?: string | undefined;
  password?: string | undefined;
  /** Its id; undefined: the only one, or the one that is not inside another and has a computer. */
  chassis?: string | undefined;
  /** basic: user and password with every question; session: exchanged once for a token. */
  auth: 'basic' | 'session';
  everyS: number;
}

const link = z.object({ '@odata.id': z.string() });
const collection = z.object({ Members: z.array(link) });
const chassisShape = z.object({
  Id: z.string().optional(),
  EnvironmentMetrics: link.optional(),
  Power: link.optional(),
  Links: z
    .object({ ContainedBy: z.unknown().optional(), ComputerSystems: z.array(z.unknown()).optional() })
    .optional(),
});
const reading = z.object({ Reading: z.number().nullable().optional() }).nullable().optional();
const metricsShape = z.object({ PowerWatts: reading, EnergykWh: reading, EnergyJoules: reading });
const powerShape = z.object({
  PowerControl: z
    .array(
      z.object({
        PowerConsumedWatts: z.number().nullable().optional(),
        PhysicalContext: z.string().nullable().optional(),
      }),
    )
    .default([]),
});

type Chassis = z.infer<typeof chassisShape> & { path: string };

export function redfishSource(settings: RedfishSettings): Source {
  const { auth, user, password, ...access } = settings;
  const web = new Web(auth === 'basic' ? settings : { ...access, url: withoutUser(access.url) });
  const session = auth === 'session' ? new Session(web, user ?? '', password ?? '') : undefined;
  const get = async (path: string, signal: AbortSignal) =>
    session ? session.getJson(path, signal) : web.getJson(path, signal);
  let chassis: Chassis | undefined;
  return {
    name: 'redfish',
    methodVersion: '1',
    covers: 'machine',
    interval: { low: 0.9, high: 1.1 },
    told: `the management controller ${web.shownUrl} (Redfish)`,
    everyS: settings.everyS,
    async ask(signal) {
      chassis ??= await findChassis(get, settings.chassis, signal);
      return readChassis(get, chassis, signal);
    },
    close: async () => session?.close(),
  };
}

type Get = (path: string, signal: AbortSignal) => Promise<unknown>;

async function findChassis(get: Get, wanted: string | undefined, signal: AbortSignal): Promise<Chassis> {
  const { Members } = parse(collection, await get('/redfish/v1/Chassis', signal), 'the list of chassis');
  const all = await Promise.all(
    Members.map(
      async ({ '@odata.id': path }): Promise<Chassis> => ({
        ...parse(chassisShape, await get(path, signal), `the chassis ${path}`),
        path,
      }),
    ),
  );
  const nameOf = ({ Id, path }: Chassis) => Id ?? path.split('/').at(-1) ?? path;
  const able = all.filter((each) => each.EnvironmentMetrics || each.Power);
  const outer = able.filter(({ Links }) => !Links?.ContainedBy);
  const computers = outer.filter(({ Links }) => (Links?.ComputerSystems?.length ?? 0) > 0);
  const candidates =
    wanted === undefined
      ? ([computers, outer, able].find(({ length }) => length === 1) ?? able)
      : able.filter((each) => nameOf(each) === wanted);
  const [only, ...more] = candidates;
  if (only && more.length === 0) return only;
  const names = able.map(nameOf).join(', ') || 'none';
  throw new Error(
    wanted === undefined
      ? `say which chassis is this host with energy.redfish.chassis; those with power: ${names}`
      : `there is no chassis ${wanted} with power; those with power: ${names}`,
  );
}

async function readChassis(get: Get, chassis: Chassis, signal: AbortSignal): Promise<SourceAnswer> {
  const { EnvironmentMetrics, Power } = chassis;
  if (EnvironmentMetrics) {
    const path = EnvironmentMetrics['@odata.id'];
    const metrics = parse(metricsShape, await get(path, signal), path);
    const powerW = metrics.PowerWatts?.Reading;
    const joules = metrics.EnergyJoules?.Reading ?? scaled(metrics.EnergykWh?.Reading, 3.6e6);
    if (powerW != null || joules != null)
      return { ...(powerW == null ? {} : { powerW }), ...(joules == null ? {} : { counterJ: joules }) };
  }
  if (Power) {
    const path = Power['@odata.id'];
    const { PowerControl } = parse(powerShape, await get(path, signal), path);
    const powerW = wholeOf(PowerControl);
    if (powerW !== undefined) return { powerW };
  }
  throw new Error(`the chassis ${chassis.path} tells no power`);
}

/** Entries may be the chassis and parts of it: the one of the chassis, otherwise the first that names no part. */
function wholeOf(controls: z.infer<typeof powerShape>['PowerControl']): number | undefined {
  const told = controls.filter(({ PowerConsumedWatts }) => PowerConsumedWatts != null);
  const whole =
    told.find(({ PhysicalContext }) => PhysicalContext === 'Chassis') ??
    told.find(({ PhysicalContext }) => PhysicalContext == null || PhysicalContext === 'PowerSupply');
  return whole?.PowerConsumedWatts ?? undefined;
}

class Session {
  readonly #web: Web;
  readonly #body: string;
  #token: { value: string; path: string | undefined } | undefined;

  constructor(web: Web, user: string, password: string) {
    this.#web = web;
    this.#body = JSON.stringify({ UserName: user, Password: password });
  }

  async getJson(path: string, signal: AbortSignal): Promise<unknown> {
    const known = this.#token !== undefined;
    this.#token ??= await this.#open(signal);
    try {
      return await this.#web.getJson(path, signal, { 'x-auth-token': this.#token.value });
    } catch (error) {
      // Sessions end by themselves: once, a new one is tried.
      this.#token = undefined;
      if (!known) throw error;
      return this.getJson(path, signal);
    }
  }

  async close(): Promise<void> {
    const { value, path } = this.#token ?? {};
    this.#token = undefined;
    if (value === undefined || path === undefined) return;
    const headers = { 'x-auth-token': value };
    await this.#web.ask('DELETE', path, AbortSignal.timeout(2000), { headers }).catch(() => undefined);
  }

  async #open(signal: AbortSignal): Promise<{ value: string; path: string | undefined }> {
    const answer = await this.#web.ask('POST', '/redfish/v1/SessionService/Sessions', signal, {
      headers: { 'content-type': 'application/json' },
      body: this.#body,
    });
    const value = answer.headers['x-auth-token'];
    if (typeof value !== 'string')
      throw new Error(
        `${this.#web.shownUrl} gave no session for this user and password (status ${answer.status})`,
      );
    const { location } = answer.headers;
    return { value, path: typeof location === 'string' ? location : undefined };
  }
}

function parse<Shape extends z.ZodType>(shape: Shape, value: unknown, what: string): z.infer<Shape> {
  const parsed = shape.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new Error(`${what} is not as Redfish has it: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`);
}

function scaled(value: number | null | undefined, by: number): number | undefined {
  return value == null ? undefined : value * by;
}

function withoutUser(text: string): string {
  const url = new URL(text);
  url.username = '';
  url.password = '';
  return url.href;
}
