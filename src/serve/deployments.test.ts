import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { VersionRecord } from '../models/models.ts';
import { AliasMoves } from './alias-moves.ts';
import type { GivenSettings } from './settings.ts';
import { type Deployed, deployed } from './testing/deployed.ts';

let house: Deployed;
let one: VersionRecord;
/** Each commit waits for this. */
let commit: Promise<void>;

beforeEach(async () => {
  commit = Promise.resolve();
  house = await deployed({ audit: () => commit });
  one = await house.version(1);
});
afterEach(() => house.close());

const stored = () => house.db.selectFrom('deployments').select('id').execute();
const make = (version: VersionRecord, given?: GivenSettings) =>
  house.deployments.create(house.model, version, 'ada', given);

/** Holds every commit until the function it returns is called. */
function holdCommits(): () => void {
  let go = () => {};
  commit = new Promise((resolve) => {
    go = resolve;
  });
  return go;
}

async function until(reached: () => boolean) {
  for (let tries = 0; !reached(); tries++) {
    if (tries > 500) throw new Error('did not happen within 10 s');
    await sleep(20);
  }
}

/** Asks by the alias, several at a time, until the work is done. Throws when any request fails. */
async function underLoad(alias: string, work: () => Promise<void>): Promise<number[]> {
  let done = false;
  const answers: number[] = [];
  const client = async () => {
    while (!done) answers.push(await house.ask({ alias }));
  };
  const clients = Promise.all(Array.from({ length: 8 }, client));
  await Promise.race([work(), clients]).finally(() => {
    done = true;
  });
  await clients;
  return answers;
}

describe('a deployment', () => {
  it('is not acknowledged to a second caller before the commit of the first', async () => {
    const go = holdCommits();
    let acknowledged = 0;
    const calls = [1, 2].map(async () => {
      const deployment = await house.deployments.create(house.model, one, 'ada');
      acknowledged++;
      return deployment;
    });
    await sleep(500);
    expect(acknowledged).toBe(0);
    go();
    const [first, second] = await Promise.all(calls);
    expect(second?.id).toBe(first?.id);
    expect(await stored()).toEqual([{ id: first?.id }]);
  });

  it('takes no request before it is committed', async () => {
    const go = holdCommits();
    const created = make(one);
    await until(() => house.deployments.residency.loaded.size === 1);
    expect(() => house.deployments.served(house.model.id)).toThrow('not deployed');
    expect(house.deployments.list([house.model.id])).toMatchObject([{ state: 'loading' }]);
    go();
    await created;
    expect(await house.ask({})).toBe(1);
  });

  it('that is removed while it is being made does not come back', async () => {
    const go = holdCommits();
    const created = make(one);
    await until(() => house.deployments.list([house.model.id]).length === 1);
    const [loading] = house.deployments.list([house.model.id]);
    const removed = house.deployments.remove(loading?.id ?? '', 'ada');
    go();
    await Promise.all([created, removed]);
    expect(house.deployments.list([house.model.id])).toEqual([]);
    expect(await stored()).toEqual([]);
  });

  it('is one of its own when an evaluation has borrowed the version', async () => {
    const { served, giveBack } = await house.deployments.borrow(house.model, one);
    const { id } = await make(one);
    expect(id).not.toBe(served.deploymentId);
    await giveBack();
    expect(house.deployments.list([house.model.id])).toMatchObject([{ id, state: 'ready' }]);
    expect(await stored()).toEqual([{ id }]);
  });

  it('takes the place of one whose commit had been reported as failed', async () => {
    const row = { id: 'd0', model_id: house.model.id, version_id: one.id, settings: '{}' };
    await house.db
      .insertInto('deployments')
      .values({ ...row, created_at: '2026-01-01T00:00:00.000Z', created_by: 'ada' })
      .execute();
    const { id } = await make(one);
    expect(await stored()).toEqual([{ id }]);
  });
});

describe('after a restart', () => {
  it('nothing but pinned versions is in memory, and the rest comes with its first request', async () => {
    await make(one);
    await make(await house.version(2), { pinned: true });
    await house.restart();
    const state = () => house.deployments.list([house.model.id]).map((d) => `${d.version} ${d.state}`);
    expect(state()).toEqual(['1 idle', '2 ready']);
    expect(house.deployments.isReady(house.deployments.served(house.model.id, { version: 1 }))).toBe(true);
    expect(house.deployments.allReady()).toBe(true);
    await until(() => house.reserved().length === 1);
    const answers = await Promise.all([1, 2, 3].map(() => house.ask({ version: 1 })));
    expect(answers).toEqual([1, 1, 1]);
    expect(state()).toEqual(['1 ready', '2 ready']);
    await until(() => house.reserved().length === 2);
    expect(house.reserved().every(({ memoryBytes }) => memoryBytes > 0)).toBe(true);
  });

  it('settings are what they were', async () => {
    const { settings } = await make(one, { maxBatchSize: 4, cache: { maxAgeS: 7 } });
    expect(settings).toMatchObject({ maxBatchSize: 4, cache: { enabled: true, maxAgeS: 7 } });
    await house.restart();
    expect(house.deployments.list([house.model.id])).toMatchObject([{ state: 'idle', settings }]);
    expect(await make(one)).toMatchObject({ state: 'ready', settings });
  });

  it('settings that nobody understands any more do not keep a version from being served', async () => {
    await make(one);
    await house.db.updateTable('deployments').set({ settings: '{"warp": 9}' }).execute();
    await house.restart();
    expect(await house.ask({})).toBe(1);
  });
});

describe('a version that cannot be served', () => {
  it('is refused with the reason, and is not there afterwards', async () => {
    const broken = {
      ...one,
      signature: { ...one.signature, inputs: [{ name: 'no', datatype: 'FP32' as const, shape: [-1, 1] }] },
    };
    await expect(make(broken)).rejects.toMatchObject({ code: 'CORRUPT_MODEL' });
    expect(house.deployments.list([house.model.id])).toEqual([]);
    expect(await stored()).toEqual([]);
    expect(house.deployments.residency.heldBytes).toBe(0);
  });

  it('says so after a restart, and takes nothing from the others', async () => {
    await make(one);
    await make(await house.version(2));
    await house.restart();
    await house.db.updateTable('versions').set({ onnx_sha256: 'lost' }).where('number', '=', 2).execute();
    await house.restart();
    await expect(house.ask({ version: 2 })).rejects.toThrow('no such blob');
    const [, second] = house.deployments.list([house.model.id]);
    expect(second).toMatchObject({ state: 'failed', reason: 'no such blob' });
    expect(house.deployments.isReady(house.deployments.served(house.model.id, { version: 2 }))).toBe(false);
    expect(await house.ask({ version: 1 })).toBe(1);
    expect(house.deployments.allReady()).toBe(true);
  });
});

describe('settings', () => {
  it('change without a failed request, those of the batcher and those that need another replica', async () => {
    const { id } = await make(one);
    const changes = [
      { maxBatchSize: 2 },
      { threads: 1 },
      { queueLimit: 500 },
      { replicas: 2 },
      { pinned: true },
    ];
    const answers = await underLoad('latest', async () => {
      for (const change of changes) {
        await house.deployments.change(id, change, 'ada');
        await sleep(30);
      }
    });
    expect(new Set(answers)).toEqual(new Set([1]));
    expect(house.deployments.get(id)?.settings).toMatchObject(Object.assign({}, ...changes));
    const statistics = house.deployments.statistics(house.deployments.served(house.model.id));
    expect(statistics.success.count).toBe(answers.length);
    // The replica of before is gone.
    await until(() => house.runners.describe().processes.flatMap(({ copies }) => copies).length <= 2);
  });

  it('that are wrong are refused by name, and nothing has changed', async () => {
    const { id, settings } = await make(one, { maxBatchSize: 4 });
    const wrong = house.deployments.change(id, { preferredBatchSizes: [2, 6] }, 'ada');
    await expect(wrong).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      where: 'settings.preferredBatchSizes',
    });
    expect(house.deployments.get(id)?.settings).toEqual(settings);
  });
});

describe('an alias', () => {
  const by = { organisation: 'acme', member: 'ada' };
  const moves = () => new AliasMoves(house);
  const move = (version: VersionRecord, more = {}) =>
    moves().move({ by, model: house.model, version, alias: 'best', deploy: false, retire: false, ...more });

  it('moves back and forth under load without a failed request', async () => {
    const two = await house.version(2);
    await make(one);
    await make(two);
    await move(one);
    const answers = await underLoad('best', async () => {
      for (let turn = 0; turn < 50; turn++) {
        await move(turn % 2 === 0 ? two : one);
        expect(await house.ask({ alias: 'best' })).toBe(turn % 2 === 0 ? 2 : 1);
      }
    });
    expect(new Set(answers)).toEqual(new Set([1, 2]));
    expect(answers.length).toBeGreaterThan(50);
  });

  it('moves under load to a version that is loaded for it, and the old one leaves', async () => {
    const versions = [one, ...(await Promise.all([house.version(2)])), await house.version(3)];
    await make(one);
    await move(one);
    const answers = await underLoad('best', async () => {
      for (const version of versions.slice(1)) await move(version, { deploy: true, retire: true });
    });
    expect(answers.at(-1)).toBe(3);
    expect(house.deployments.list([house.model.id]).map(({ version }) => version)).toEqual([3]);
    expect(house.deployments.residency.loaded.size).toBe(1);
  });

  it('that answers requests does not move to a version that nobody serves', async () => {
    const two = await house.version(2);
    // Nobody is answered by it yet: it may name anything.
    await move(two);
    await make(one);
    await move(one);
    await expect(move(two)).rejects.toMatchObject({ code: 'CONFLICT', where: 'version' });
    expect(await house.ask({ alias: 'best' })).toBe(1);
  });

  it('keeps a version served that another alias names', async () => {
    await make(one);
    await move(one);
    await move(one, { alias: 'also' });
    expect(await move(await house.version(2), { deploy: true, retire: true })).toMatchObject({
      retired: null,
    });
    expect(await house.ask({ alias: 'also' })).toBe(1);
  });
});
