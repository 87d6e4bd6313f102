/** Limit periods are calendar hours, days and months in UTC: everyone can tell when a new one begins. */
export type Period = 'hour' | 'day' | 'month';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** Start and end (exclusive) of the period that contains `nowMs`, epoch milliseconds. */
export function periodAt(period: Period, nowMs: number): { startMs: number; endMs: number } {
  if (period === 'month') {
    const now = new Date(nowMs);
    const year = now.getUTCFullYear();
    const month = now.getUTCMonth();
    return { startMs: Date.UTC(year, month, 1), endMs: Date.UTC(year, month + 1, 1) };
  }
  const lengthMs = period === 'hour' ? hourMs : dayMs;
  const startMs = Math.floor(nowMs / lengthMs) * lengthMs;
  return { startMs, endMs: startMs + lengthMs };
}
