/** What a source said, kept in the data folder: after a restart nobody is asked again before it is time. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { GridPoint } from './series.ts';
import type { GridSource } from './source.ts';

const cacheSchema = z.object({
  version: z.literal(1),
  source: z.string(),
  updatedAtMs: z.number(),
  nextAtMs: z.number(),
  points: z.array(z.tuple([z.number(), z.number(), z.number(), z.boolean()])),
});

export interface Kept {
  updatedAtMs: number;
  nextAtMs: number;
  points: GridPoint[];
}

/** Of one name, kind, scope and server: figures of another kind are never found here. */
function fileOf(folder: string, { name, kind, scope, origin }: GridSource): string {
  const identity = createHash('sha256')
    .update(JSON.stringify([name, kind, scope, origin]))
    .digest('hex');
  return join(folder, 'grid', `${identity.slice(0, 16)}.json`);
}

/** Null when there is none, or what is there cannot be read. */
export async function readKept(folder: string, source: GridSource): Promise<Kept | null> {
  try {
    const json: unknown = JSON.parse(await readFile(fileOf(folder, source), 'utf8'));
    const { updatedAtMs, nextAtMs, points } = cacheSchema.parse(json);
    return {
      updatedAtMs,
      nextAtMs,
      points: points.map(([startMs, endMs, gPerKwh, estimated]) => ({ startMs, endMs, gPerKwh, estimated })),
    };
  } catch {
    return null;
  }
}

export async function keep(folder: string, source: GridSource, kept: Kept): Promise<void> {
  const file = fileOf(folder, source);
  await mkdir(join(folder, 'grid'), { recursive: true });
  const text = JSON.stringify({
    version: 1,
    source: source.name,
    updatedAtMs: kept.updatedAtMs,
    nextAtMs: kept.nextAtMs,
    points: kept.points.map(({ startMs, endMs, gPerKwh, estimated }) => [startMs, endMs, gPerKwh, estimated]),
  } satisfies z.infer<typeof cacheSchema>);
  const next = `${file}.${process.pid}.next`;
  await writeFile(next, text);
  await rename(next, file);
}
