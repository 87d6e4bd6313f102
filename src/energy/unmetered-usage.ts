/** Where nothing is metered and booked, limits of requests and rows count all the same, from 0 at each start. */
import type { AvoidedWork, ComputedBatch, Footprint } from './energy.ts';
import { unmetered } from './footprint.ts';
import { type UsageListener, useOf } from './usage-counts.ts';
import type { UsageReading } from './usage-reading.ts';

export class UnmeteredUsage {
  #listener: UsageListener | undefined;

  listen(listener: UsageListener): void {
    this.#listener = listener;
  }

  read(): UsageReading {
    return { unsettled: [], settled: Promise.resolve([]) };
  }

  count({ use, items }: Pick<ComputedBatch, 'use' | 'items'> | AvoidedWork): Footprint[] {
    for (const item of items) {
      const { place, ...context } = item.context;
      if (!place && !this.#listener?.listening) continue;
      const used = useOf({ ...context, use }, item, unmetered, Date.now());
      this.#listener?.used(used);
      place?.booked(used);
    }
    return items.map(() => unmetered);
  }
}
