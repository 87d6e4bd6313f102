import { expect, it } from 'vitest';
import { plottedCurve } from './curve-points.ts';

// Eight H100, PUE 1.2, 400 g/kWh: f(u) = 2707.2 + 823.62/u g for each hour of full use.
const point = (utilisation: number) => ({
  utilisation,
  gCo2ePerRequest: 2707.2 + 823.62 / utilisation,
  gCo2ePerHour: 2707.2 * utilisation + 823.62,
});

it('orders the points of the curve f(RUR) from idle to busy', () => {
  expect(
    plottedCurve([point(1), point(0.2), null, point(0.6)]).map(({ utilisation }) => utilisation),
  ).toEqual([0.2, 0.6, 1]);
});

it('leaves out what no logarithmic axis can show', () => {
  expect(plottedCurve([null, point(0), { ...point(0.5), gCo2ePerRequest: 0 }])).toEqual([]);
});
