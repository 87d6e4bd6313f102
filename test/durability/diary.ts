/**
 * A client that works on a server until it dies, and keeps a diary: what it began, what was acknowledged, what was
 * refused. After the next start the server is compared with the diary.
 */
import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Commonwatt, CommonwattApiError } from '@commonwatt/client';
import type { LedgerState } from './server.ts';

/** What becomes of a thing: an answer that did not come leaves both states possible. */
type Fate = 'there' | 'ending' | 'gone';

interface Noted {
  id: string;
  fate: Fate;
}

const model = 'acme/numbers';
/** A value in the model's only weight, by which an artifact and its answers are known. */
const mark = Buffer.from(Float32Array.of(0.123456).buffer);

export class Diary {
  readonly keys = new Map<string, Noted & { apiKey: string; mine?: true }>();
  readonly organisations = new Set<string>();
  readonly grants = new Map<string, Noted & { organisation: string }>();
  readonly deployments = new Map<string, Noted & { number: number }>();
  /** Deployment → what its `maxBatchSize` may be (0: none given): what was acknowledged last, and what came after that. */
  readonly batchSizes = new Map<string, number[]>();
  readonly versions = new Map<number, { sha256: string; weight: number }>();
  /** What the alias may name: the version it was last moved to, and those on their way after that. */
  alias: number[] = [];
  /** A move of the alias was acknowledged: from then on it names something. */
  aliasMoved = false;
  readonly datasets = new Map<string, string>();
  readonly jobs = new Set<string>();
  /** Request id → when its answer was complete, epoch ms. */
  readonly answered = new Map<string, number>();
  /** Acknowledged changes, each with its time, epoch ms. */
  readonly changes: number[] = [];
  /** Refused with 503, epoch ms. */
  readonly refused: number[] = [];
  sent = 0;
  readonly #artifact: Buffer;
  readonly #mark: number;
  #operator = '';
  #owner = '';
  #consumer = '';
  #weights = 0;
  /** Whom a grant that was not acknowledged was for. */
  readonly #unsure = new Set<string>();

  /** `artifact`: a Keras file with one input, one linear unit, weight 0.123456 and bias 0. */
  constructor(artifact: Uint8Array) {
    this.#artifact = Buffer.from(artifact);
    this.#mark = this.#artifact.indexOf(mark);
    if (this.#mark < 0) throw new Error('the artifact does not hold the weight');
  }

  /** Two organisations, a shared and deployed model, a data set. */
  async begin(baseUrl: string, operatorKey: string): Promise<void> {
    this.#operator = operatorKey;
    this.#owner = await this.#organise(baseUrl, 'acme');
    this.#consumer = await this.#organise(baseUrl, 'globex');
    const owner = this.#client(baseUrl);
    await this.#import(owner);
    await this.#deploy(owner, 1);
    await this.#grant(owner, 'globex');
    await this.#upload(owner);
  }

  /** Works until the server is gone or `signal` is aborted. Throws what a working server must not answer. */
  async work(baseUrl: string, signal: AbortSignal): Promise<void> {
    await Promise.all([
      this.#repeat(signal, () => this.#change(baseUrl)),
      ...[1, 2, 3].map(() => this.#repeat(signal, () => this.#infer(baseUrl))),
    ]);
  }

  async #repeat(signal: AbortSignal, step: () => Promise<unknown>): Promise<void> {
    while (!signal.aborted) {
      try {
        await step();
      } catch (error) {
        if (!(error instanceof CommonwattApiError)) throw error;
        if (error.status === 0) return;
        if (error.status !== 503) throw error;
        this.refused.push(Date.now());
        await sleep(50);
      }
      await sleep(2);
    }
  }

  #client(baseUrl: string): Commonwatt {
    return new Commonwatt({ baseUrl, apiKey: this.#owner });
  }

  async #change(baseUrl: string): Promise<void> {
    const cw = this.#client(baseUrl);
    const numbers = [...this.versions.keys()];
    const any = numbers[Math.floor(Math.random() * numbers.length)] ?? 1;
    const live = (all: Map<string, Noted>) => [...all.values()].filter(({ fate }) => fate === 'there');
    const steps = [
      () => this.#makeKey(cw),
      () => this.#makeKey(cw),
      () =>
        this.#end(
          this.keys,
          live(this.keys).filter((key) => 'mine' in key),
          ({ id }) => cw.keys.revoke(id),
        ),
      () =>
        this.organisations.size < 8 ? this.#organise(baseUrl, `org-${randomUUID()}`) : Promise.resolve(),
      () => this.#grantAnyone(cw),
      () => this.#grantAnyone(cw),
      () => this.#end(this.grants, live(this.grants).slice(1), ({ id }) => cw.grants.revoke(model, id)),
      () => (numbers.length < 12 ? this.#import(cw) : Promise.resolve()),
      () => this.#moveAlias(cw, any),
      () => this.#changeSettings(cw, live(this.deployments)[0]?.id),
      () => (live(this.deployments).length < 4 ? this.#deploy(cw, any) : Promise.resolve()),
      () =>
        this.#end(this.deployments, live(this.deployments).slice(1), ({ id }) => cw.deployments.remove(id)),
      () => (this.datasets.size < 6 ? this.#upload(cw) : Promise.resolve()),
      () => this.#train(cw),
    ];
    await steps[Math.floor(Math.random() * steps.length)]?.();
  }

  async #makeKey(cw: Commonwatt): Promise<void> {
    const { id, apiKey } = await cw.keys.create({ name: 'one of many' });
    this.keys.set(id, { id, apiKey, fate: 'there', mine: true });
    this.#changed();
  }

  /** Returns the key of its admin. */
  async #organise(baseUrl: string, name: string): Promise<string> {
    const operator = new Commonwatt({ baseUrl, apiKey: this.#operator });
    const { admin } = await operator.organisations.create({ name, admin: 'ada' });
    if (!admin) throw new Error('no key for the admin');
    this.organisations.add(name);
    this.keys.set(admin.keyId, { id: admin.keyId, apiKey: admin.apiKey, fate: 'there' });
    this.#changed();
    return admin.apiKey;
  }

  /** To someone who has none as far as this diary knows. */
  async #grantAnyone(cw: Commonwatt): Promise<void> {
    const having = new Set<string>();
    for (const { fate, organisation } of this.grants.values()) if (fate !== 'gone') having.add(organisation);
    const organisation = [...this.organisations].find((name) => name !== 'acme' && !having.has(name));
    if (organisation) await this.#grant(cw, organisation);
  }

  async #grant(cw: Commonwatt, organisation: string): Promise<void> {
    const { id } = await cw.grants.create(model, { organisation }).catch(async (error: unknown) => {
      if (!(error instanceof CommonwattApiError)) throw error;
      // What was not acknowledged may be there all the same.
      if (error.status !== 409 || !this.#unsure.has(organisation)) {
        this.#unsure.add(organisation);
        throw error;
      }
      const all = await cw.grants.list(model);
      const there = all.find((grant) => grant.organisation === organisation && grant.revokedAt === null);
      if (!there) throw error;
      return there;
    });
    this.#unsure.delete(organisation);
    this.grants.set(id, { id, organisation, fate: 'there' });
    this.#changed();
  }

  /** Ends the newest of `candidates`. */
  async #end(
    all: Map<string, Noted>,
    candidates: Noted[],
    end: (noted: Noted) => Promise<void>,
  ): Promise<void> {
    const id = candidates.at(-1)?.id;
    const noted = id === undefined ? undefined : all.get(id);
    if (!noted) return;
    noted.fate = 'ending';
    await end(noted);
    noted.fate = 'gone';
    this.#changed();
  }

  async #import(cw: Commonwatt): Promise<void> {
    const bytes = Buffer.from(this.#artifact);
    const weight = Math.fround(1 + Math.floor(Math.random() * 1e6) / 1024 + this.#weights++);
    bytes.writeFloatLE(weight, this.#mark);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const version = await cw.versions.import(model, new Uint8Array(bytes));
    if (version.sha256 !== sha256) throw new Error(`version ${version.number} is not what was sent`);
    this.versions.set(version.number, { sha256, weight });
    this.#changed();
  }

  async #moveAlias(cw: Commonwatt, number: number): Promise<void> {
    this.alias.push(number);
    // It answers requests, so it only moves to what is served; that becomes a deployment then.
    await cw.models.setAlias(model, 'candidate', number, { deploy: true });
    this.alias = [number];
    this.aliasMoved = true;
    this.#changed();
  }

  async #deploy(cw: Commonwatt, number: number): Promise<void> {
    const { id } = await cw.deployments.create({ model: `${model}:${number}` });
    this.deployments.set(id, { id, number, fate: 'there' });
    this.#changed();
  }

  async #changeSettings(cw: Commonwatt, id: string | undefined): Promise<void> {
    if (id === undefined) return;
    const maxBatchSize = 1 + Math.floor(Math.random() * 64);
    this.batchSizes.set(id, [...(this.batchSizes.get(id) ?? [0]), maxBatchSize]);
    await cw.deployments.change(id, { maxBatchSize });
    this.batchSizes.set(id, [maxBatchSize]);
    this.#changed();
  }

  async #upload(cw: Commonwatt): Promise<void> {
    const lines = Array.from({ length: 120 }, (_, row) => `${row / 120},${Math.random()},${row % 2}`);
    const csv = new TextEncoder().encode(`a,b,odd\n${lines.join('\n')}\n`);
    const name = `rows-${this.datasets.size}-${Math.floor(Math.random() * 1e9)}`;
    const { sha256 } = await cw.datasets.upload({ name, label: 'odd', seed: 1 }, csv);
    this.datasets.set(name, sha256);
    this.#changed();
  }

  /** One job at a time; one that was often interrupted is left to end, for it is given up after five attempts. */
  async #train(cw: Commonwatt): Promise<void> {
    const open = (await cw.jobs.list()).find(({ state }) => state === 'queued' || state === 'running');
    if (open && open.attempts < 4) return;
    if (open) {
      await cw.jobs.wait(open.id);
      return;
    }
    const [dataset] = this.datasets.keys();
    const { id } = await cw.jobs.create({
      kind: 'train',
      config: {
        dataset,
        layers: [{ type: 'dense', units: 1, activation: 'sigmoid' }],
        optimizer: 'adam',
        loss: 'binaryCrossentropy',
        metrics: ['accuracy'],
        epochs: 2,
      },
    });
    this.jobs.add(id);
    this.#changed();
  }

  /** The other organisation asks; a version that is not deployed at the moment is no failure. */
  async #infer(baseUrl: string): Promise<void> {
    const response = await inferOnce(baseUrl, this.#consumer, undefined, () => this.sent++);
    if (response.status === 503) throw unavailable(response.text);
    if (response.status === 404) return;
    if (response.status !== 200) throw new Error(`inference answered ${response.status}: ${response.text}`);
    const known = [...this.versions.values()].some(({ weight }) => weight === response.value);
    if (!known) throw new Error(`the model answered ${response.value}`);
    this.answered.set(response.requestId, Date.now());
  }

  #changed(): void {
    this.changes.push(Date.now());
  }

  /** What was acknowledged and is not there or does not work, and what is there and broken. */
  async problems(baseUrl: string): Promise<string[]> {
    const problems: string[] = [];
    const cw = this.#client(baseUrl);
    const wrong = (what: string) => problems.push(what);
    const settle = (all: Map<string, Noted>, there: Set<string>, name: string) => {
      for (const noted of all.values()) {
        if (noted.fate === 'there' && !there.has(noted.id)) wrong(`lost: ${name} ${noted.id}`);
        if (noted.fate === 'gone' && there.has(noted.id)) wrong(`came back: ${name} ${noted.id}`);
        if (noted.fate === 'ending') noted.fate = there.has(noted.id) ? 'there' : 'gone';
      }
    };
    const working = new Set<string>();
    for (const { id, apiKey } of this.keys.values()) {
      const { status } = await fetch(`${baseUrl}/api/v1/whoami`, {
        headers: { authorization: `Bearer ${apiKey}` },
      });
      if (status === 200) working.add(id);
      else if (status !== 401) wrong(`key ${id} answers ${status}`);
    }
    settle(this.keys, working, 'key');
    const grants = await cw.grants.list(model);
    settle(this.grants, new Set(grants.filter(({ revokedAt }) => !revokedAt).map(({ id }) => id)), 'grant');
    for (const { id, organisation, revokedAt } of grants)
      if (!this.grants.has(id)) this.grants.set(id, { id, organisation, fate: revokedAt ? 'gone' : 'there' });
    const organisations = await new Commonwatt({ baseUrl, apiKey: this.#operator }).organisations.list();
    for (const name of this.organisations)
      if (!organisations.some((organisation) => organisation.name === name))
        wrong(`lost: organisation ${name}`);
    const deployments = await cw.deployments.list();
    settle(this.deployments, new Set(deployments.map(({ id }) => id)), 'deployment');
    const { versions, aliases } = await cw.models.get(model);
    for (const { number, sha256 } of versions) {
      const known = this.versions.get(number);
      if (known && known.sha256 !== sha256) wrong(`version ${number} became another`);
      const bytes = await new Response(await cw.versions.artifact(model, number, 'h5')).arrayBuffer();
      if (createHash('sha256').update(Buffer.from(bytes)).digest('hex') !== sha256)
        wrong(`version ${number} downloads as other bytes`);
      // One whose acknowledgement was cut off: it is there, so it is as good as any other.
      if (!known) this.versions.set(number, { sha256, weight: Buffer.from(bytes).readFloatLE(this.#mark) });
    }
    for (const number of this.versions.keys())
      if (!versions.some((version) => version.number === number)) wrong(`lost: version ${number}`);
    const named = aliases.find(({ alias }) => alias === 'candidate')?.version;
    if (named === undefined ? this.aliasMoved : !this.alias.includes(named))
      wrong(`the alias names ${named} and not one of ${this.alias}`);
    this.alias = named === undefined ? [] : [named];
    this.aliasMoved = named !== undefined;
    for (const { id, version, state, settings } of deployments) {
      const sizes = this.batchSizes.get(id) ?? [0];
      const { maxBatchSize = 0 } = settings ?? {};
      if (!sizes.includes(maxBatchSize))
        wrong(`deployment ${id} computes ${maxBatchSize} rows in one go and not one of ${sizes}`);
      this.batchSizes.set(id, [maxBatchSize]);
      if (!this.deployments.has(id)) this.deployments.set(id, { id, number: version, fate: 'there' });
      const answer = await inferOnce(baseUrl, this.#owner, version, () => this.sent++);
      if ((state !== 'ready' && state !== 'idle') || answer.value !== this.versions.get(version)?.weight)
        wrong(`deployment of version ${version} is ${state} and answers ${answer.status} ${answer.text}`);
      else this.answered.set(answer.requestId, Date.now());
    }
    for (const [name, sha256] of this.datasets) {
      const dataset = await cw.datasets.get(name);
      const { features } = await cw.datasets.row(name, 'test', 0);
      if (dataset.sha256 !== sha256 || !('a' in features)) wrong(`data set ${name} is broken`);
    }
    const jobs = await cw.jobs.list();
    for (const { id, state, error } of jobs)
      if (state === 'failed' || state === 'cancelled') wrong(`job ${id} is ${state}: ${error?.message}`);
    for (const id of this.jobs) if (!jobs.some((job) => job.id === id)) wrong(`lost: job ${id}`);
    return problems;
  }

  /** Every interrupted training ends well, and its artifact is what its result says. */
  async jobProblems(baseUrl: string): Promise<string[]> {
    const cw = this.#client(baseUrl);
    const problems: string[] = [];
    for (const { id } of await cw.jobs.list()) {
      const { state, error, result } = await cw.jobs.wait(id, { intervalMs: 100 });
      const bytes =
        state === 'succeeded' ? await new Response(await cw.jobs.artifact(id)).arrayBuffer() : undefined;
      const told = result && 'artifactSha256' in result ? result.artifactSha256 : undefined;
      if (!bytes || createHash('sha256').update(Buffer.from(bytes)).digest('hex') !== told)
        problems.push(`job ${id} is ${state}: ${error?.message ?? 'its artifact is not there'}`);
    }
    return problems;
  }

  /**
   * Each answered inference was booked once. Those answered after `lostMs` before `diedAt` may be missing (after a
   * power cut); what is missing rightly is forgotten.
   */
  ledgerProblems(ledger: LedgerState, { lostMs = 0, diedAt = Number.POSITIVE_INFINITY } = {}): string[] {
    const problems = [...ledger.problems];
    for (const [id, at] of this.answered) {
      const times = ledger.requests[id] ?? 0;
      if (times === 0 && at > diedAt - lostMs) this.answered.delete(id);
      else if (times !== 1) problems.push(`request ${id} was booked ${times} times`);
    }
    const booked = Object.keys(ledger.requests).length;
    if (booked > this.sent) problems.push(`${booked} requests are booked, ${this.sent} were sent`);
    return problems;
  }
}

function unavailable(detail: string): CommonwattApiError {
  return new CommonwattApiError({ status: 503, code: 'HTTP_503', detail });
}

interface Inferred {
  status: number;
  text: string;
  value: number | undefined;
  requestId: string;
}

async function inferOnce(
  baseUrl: string,
  apiKey: string,
  version: number | undefined,
  onSend: () => void,
): Promise<Inferred> {
  const of = version === undefined ? '' : `/versions/${version}`;
  onSend();
  try {
    const response = await fetch(`${baseUrl}/v2/models/acme--numbers${of}/infer`, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ inputs: [{ name: 'input', shape: [1, 1], datatype: 'FP32', data: [1] }] }),
    });
    const text = await response.text();
    const answer: { outputs?: { data: number[] }[] } = JSON.parse(text);
    const requestId = response.headers.get('x-commonwatt-request-id') ?? 'none';
    const value = answer.outputs?.[0]?.data[0];
    return {
      status: response.status,
      text,
      requestId,
      value: value === undefined ? undefined : Math.fround(value),
    };
  } catch (cause) {
    throw new CommonwattApiError({ status: 0, code: 'UNREACHABLE', detail: 'the server is gone' }, cause);
  }
}
