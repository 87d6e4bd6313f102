/** Times of grid data: ISO 8601 with a zone, so that the hour that comes twice in autumn is two hours. */
import { z } from 'zod';

const withZone = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?\s?(Z|[+-]\d{2}:?\d{2})$/;

/** Epoch ms; null for what is no such time (a local time without its zone included). */
export function parseInstant(text: string): number | null {
  const trimmed = text.trim();
  if (!withZone.test(trimmed)) return null;
  const ms = Date.parse(
    trimmed
      .replace(' ', 'T')
      .replace(/\s/, '')
      .replace(/([+-]\d{2})(\d{2})$/, '$1:$2'),
  );
  return Number.isFinite(ms) ? ms : null;
}

export const instantSchema = z.string().transform((text, context) => {
  const ms = parseInstant(text);
  if (ms !== null) return ms;
  context.addIssue({ code: 'custom', message: 'not a time with its zone, such as 2026-03-29T01:00:00Z' });
  return z.NEVER;
});

/** As services want it: 2026-03-29T01:00Z. */
export function minuteText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16)}Z`;
}
