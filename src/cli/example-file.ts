/** `example.json` in the data folder: with what a script or a curl line goes on after the first start. */
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';

const party = z.object({ organisation: z.string(), apiKey: z.string() });

export const exampleSchema = z.object({
  baseUrl: z.url(),
  grpcAddress: z.string().nullable(),
  /** The flat name: works as it is with every protocol. */
  model: z.string(),
  owner: party,
  consumer: party,
});

export type ExampleFile = z.infer<typeof exampleSchema>;

const examplePath = (dataFolder: string) => join(dataFolder, 'example.json');

/** Null when there is none, or when it is not whole: then it is made again. */
export function readExample(dataFolder: string): ExampleFile | null {
  const file = examplePath(dataFolder);
  if (!existsSync(file)) return null;
  try {
    return exampleSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch {
    return null;
  }
}

/** Holds keys: mode 0600 from its first byte. There whole or not at all, also after a power cut. */
export async function writeExample(dataFolder: string, example: ExampleFile): Promise<void> {
  const file = examplePath(dataFolder);
  const next = `${file}.${randomUUID()}`;
  try {
    const handle = await open(next, 'wx', 0o600);
    await handle.writeFile(`${JSON.stringify(example, null, 2)}\n`);
    await handle.sync();
    await handle.close();
    await rename(next, file);
    const folder = await open(dirname(file), 'r');
    await folder.sync();
    await folder.close();
  } finally {
    await rm(next, { force: true });
  }
}
