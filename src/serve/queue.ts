/**
 * Who waits for a batch, and who is next: by priority; among equals fair between organisations by rows (surplus
 * round robin: a turn is worth some rows, and who takes more pays with its next turns); within one, in order.
 *
 * A full queue refuses whoever has its share of it already; who has not takes the place of the youngest request of
 * the organisation that has most. So nobody's flood keeps others out, and one that is alone may use all of it.
 * Everything is O(1) for each request; only a full queue looks at every organisation.
 */
import { sameRowShape } from './batch.ts';
import type { Waiting } from './waiting.ts';

/** So far a lane is searched for a request that goes into a batch which its first does not fit. */
const lookahead = 32;
/** One batch of so many starts with the least urgent request, so that no level waits for ever. */
const leastUrgentEvery = 16;
/** So many turns are kept for a lane whose requests did not fit what was left of a batch. */
const keptTurns = 8;
/** Debts of lanes without requests that are remembered. */
const maxIdleLanes = 1024;

interface Tenant {
  count: number;
  /** By level; undefined where it has none. */
  lanes: (Lane | undefined)[];
}

/** The requests of one organisation on one level. */
export class Lane {
  readonly tenantId: string;
  readonly level: number;
  first: Waiting | undefined;
  last: Waiting | undefined;
  /** Rows it may still take in this turn; negative: taken in advance. */
  credit = 0;
  next: Lane = this;
  previous: Lane = this;

  constructor(tenantId: string, level: number) {
    this.tenantId = tenantId;
    this.level = level;
  }
}

interface Level {
  /** Whose turn it is. Lanes with requests form a ring. */
  current: Lane | undefined;
  active: number;
}

export interface TakeRules {
  maxRows: number;
  /** False: one request at a time. */
  batchable: boolean;
  now: number;
  /** Called for each that has waited too long; it is out of the queue. */
  expired(waiting: Waiting): void;
}

export class FairQueue {
  readonly #limit: number;
  /** Rows of a turn. */
  readonly #turn: number;
  readonly #levels: Level[];
  readonly #tenants = new Map<string, Tenant>();
  /** Lanes by level and organisation, those in debt even without requests. */
  readonly #lanes: Map<string, Lane>[];
  #lastLane: Lane | undefined;
  #takes = 0;
  /** Requests and rows that wait. */
  size = 0;
  rows = 0;

  constructor({ limit, levels, turn }: { limit: number; levels: number; turn: number }) {
    this.#limit = limit;
    this.#turn = Math.max(1, turn);
    this.#levels = Array.from({ length: levels }, () => ({ current: undefined, active: 0 }));
    this.#lanes = Array.from({ length: levels }, () => new Map());
  }

  /** Gives it a place. Returns who has none: nobody, itself, or one that had to make room and is out of the queue. */
  add(waiting: Waiting): Waiting | undefined {
    const tenantId = waiting.context.consumer.organisationId;
    let displaced: Waiting | undefined;
    if (this.size >= this.#limit) {
      displaced = this.#displace(tenantId);
      if (!displaced) return waiting;
      this.remove(displaced);
    }
    const lane = this.#laneOf(tenantId, waiting.level);
    waiting.lane = lane;
    waiting.before = lane.last;
    if (lane.last) lane.last.behind = waiting;
    else {
      lane.first = waiting;
      this.#activate(lane);
    }
    lane.last = waiting;
    this.size++;
    this.rows += waiting.rows;
    const tenant = this.#tenants.get(tenantId);
    if (tenant) tenant.count++;
    return displaced;
  }

  /** Gives up its place at once. Does nothing when it has none. */
  remove(waiting: Waiting): void {
    const { lane, before, behind } = waiting;
    if (!lane) return;
    if (before) before.behind = behind;
    else lane.first = behind;
    if (behind) behind.before = before;
    else lane.last = before;
    waiting.lane = undefined;
    waiting.before = undefined;
    waiting.behind = undefined;
    this.size--;
    this.rows -= waiting.rows;
    if (!lane.first) this.#deactivate(lane);
    const tenant = this.#tenants.get(lane.tenantId);
    if (tenant && --tenant.count === 0) this.#tenants.delete(lane.tenantId);
  }

  /** Takes out what is computed together next; the first of it is whose turn it is. */
  take(rules: TakeRules): Waiting[] {
    const batch: Waiting[] = [];
    const levels = this.#levels.length;
    const turned = levels > 1 && ++this.#takes % leastUrgentEvery === 0;
    let rows = 0;
    for (let index = 0; index < levels && rows < rules.maxRows; index++) {
      const level = this.#levels[turned ? levels - 1 - index : index];
      if (level?.current) rows = this.#fill(level, batch, rows, rules);
      if (!rules.batchable && batch.length > 0) break;
    }
    return batch;
  }

  /** When the one that has waited longest came; Infinity for an empty queue. */
  oldestAt(): number {
    let oldest = Infinity;
    for (const lane of this.#activeLanes()) oldest = Math.min(oldest, lane.first?.queuedAt ?? Infinity);
    return oldest;
  }

  /** Everything that waits. What is visited may be removed meanwhile. */
  *[Symbol.iterator](): Generator<Waiting> {
    for (const lane of [...this.#activeLanes()]) {
      for (let waiting = lane.first; waiting; ) {
        const { behind } = waiting;
        yield waiting;
        waiting = behind;
      }
    }
  }

  #fill(level: Level, batch: Waiting[], taken: number, rules: TakeRules): number {
    let rows = taken;
    /** Lanes in a row that had nothing that fits, and lanes in a row that are in debt. */
    let barren = 0;
    let indebted = 0;
    while (rows < rules.maxRows && level.current && barren < level.active) {
      const lane = level.current;
      if (level.active === 1) lane.credit = 0;
      else if (lane.credit <= 0) {
        if (++indebted % level.active === 0) this.#skipRounds(level);
        this.#advance(level);
        continue;
      }
      const waiting = this.#pick(lane, batch[0], rules.maxRows - rows, rules);
      if (!waiting) {
        // Expired requests may have emptied it; then the turn has passed on already.
        if (level.current === lane) {
          barren++;
          this.#advance(level);
        }
        continue;
      }
      barren = 0;
      indebted = 0;
      lane.credit -= waiting.rows;
      this.remove(waiting);
      batch.push(waiting);
      rows += waiting.rows;
      if (!rules.batchable) break;
    }
    return rows;
  }

  /** The first of a lane that fits behind the first of the batch into so many rows. */
  #pick(lane: Lane, leader: Waiting | undefined, room: number, rules: TakeRules): Waiting | undefined {
    let looked = 0;
    for (let waiting = lane.first; waiting && looked < lookahead; ) {
      const { behind } = waiting;
      if (waiting.deadlineAt <= rules.now) {
        this.remove(waiting);
        rules.expired(waiting);
      } else if (!leader || (waiting.rows <= room && sameRowShape(leader, waiting))) return waiting;
      else looked++;
      waiting = behind;
    }
    return undefined;
  }

  #advance(level: Level): void {
    if (!level.current) return;
    level.current = level.current.next;
    level.current.credit = Math.min(keptTurns * this.#turn, level.current.credit + this.#turn);
  }

  /** All are in debt: rounds in which nobody would take anything are not gone through one by one. */
  #skipRounds({ current }: Level): void {
    if (!current) return;
    let rounds = Infinity;
    for (const lane of ring(current)) rounds = Math.min(rounds, Math.floor(-lane.credit / this.#turn));
    if (rounds > 0) for (const lane of ring(current)) lane.credit += rounds * this.#turn;
  }

  #laneOf(tenantId: string, levelIndex: number): Lane {
    // Neighbours mostly come from one organisation: then nothing is looked up.
    const last = this.#lastLane;
    if (last?.first && last.tenantId === tenantId && last.level === levelIndex) return last;
    const lanes = this.#lanes[levelIndex];
    let lane = lanes?.get(tenantId);
    if (!lane) {
      lane = new Lane(tenantId, levelIndex);
      lanes?.set(tenantId, lane);
    }
    let tenant = this.#tenants.get(tenantId);
    if (!tenant) {
      tenant = { count: 0, lanes: [] };
      this.#tenants.set(tenantId, tenant);
    }
    tenant.lanes[levelIndex] = lane;
    this.#lastLane = lane;
    return lane;
  }

  #activate(lane: Lane): void {
    const level = this.#levels[lane.level];
    if (!level) return;
    level.active++;
    const { current } = level;
    if (!current) {
      level.current = lane;
      lane.credit = Math.min(this.#turn, lane.credit + this.#turn);
      return;
    }
    // Its turn comes after everybody else's of this round.
    lane.next = current;
    lane.previous = current.previous;
    current.previous.next = lane;
    current.previous = lane;
  }

  #deactivate(lane: Lane): void {
    const level = this.#levels[lane.level];
    const lanes = this.#lanes[lane.level];
    if (!level || !lanes) return;
    level.active--;
    const { next, previous } = lane;
    previous.next = next;
    next.previous = previous;
    lane.next = lane;
    lane.previous = lane;
    if (level.active === 0) {
      // Nobody else wanted anything meanwhile: whatever was taken in advance did no harm.
      level.current = undefined;
      lanes.clear();
      this.#lastLane = undefined;
      lane.credit = 0;
      return;
    }
    if (level.current === lane) {
      level.current = next;
      next.credit = Math.min(this.#turn, next.credit + this.#turn);
    }
    // A debt is remembered, so that one large request at a time is not a way round it.
    if (lane.credit >= 0 || lanes.size > maxIdleLanes) lanes.delete(lane.tenantId);
    if (this.#lastLane === lane) this.#lastLane = undefined;
  }

  /** Of a full queue: who makes room for one of this organisation; undefined: nobody does. */
  #displace(tenantId: string): Waiting | undefined {
    const own = this.#tenants.get(tenantId)?.count ?? 0;
    const tenants = this.#tenants.size + (own === 0 ? 1 : 0);
    if (own + 1 > this.#limit / tenants) return undefined;
    let most: Tenant | undefined;
    for (const tenant of this.#tenants.values()) if (!most || tenant.count > most.count) most = tenant;
    if (!most || most.count <= own + 1) return undefined;
    for (let level = most.lanes.length - 1; level >= 0; level--) {
      const youngest = most.lanes[level]?.last;
      if (youngest) return youngest;
    }
    return undefined;
  }

  *#activeLanes(): Generator<Lane> {
    for (const { current } of this.#levels) if (current) yield* ring(current);
  }
}

/** The lanes of a level, which must not change meanwhile. */
function* ring(current: Lane): Generator<Lane> {
  let lane = current;
  do {
    yield lane;
    lane = lane.next;
  } while (lane !== current);
}
