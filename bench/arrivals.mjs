// When requests of several organisations come: each has busy and quiet times, and in the busy ones arrivals at random
// (Poisson). The same seed gives the same requests.

/** mulberry32. */
function randomOf(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * [{atMs, organisation, row}], in order. `perSecond`: of the largest organisation while it is busy; the others have 1/2,
 * 1/3, … of it, as sizes of customers usually fall.
 */
export function arrivals({ organisations, seconds, perSecond, seed = 1, rows = 1000 }) {
  const random = randomOf(seed);
  const waitS = (mean) => -Math.log(1 - random()) * mean;
  const requests = [];
  for (let organisation = 0; organisation < organisations; organisation++) {
    const gapS = (organisation + 1) / perSecond;
    let busy = organisation % 2 === 0;
    for (let from = 0; from < seconds; busy = !busy) {
      const to = Math.min(seconds, from + waitS(seconds / (busy ? 6 : 10)));
      for (let at = from + waitS(gapS); busy && at < to; at += waitS(gapS))
        requests.push({ atMs: at * 1000, organisation, row: Math.floor(random() * rows) });
      from = to;
    }
  }
  return requests.sort((a, b) => a.atMs - b.atMs);
}
