/** A folder as /sys has them: path → content. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export function fakeFolder(files: Record<string, string | number>) {
  const root = mkdtempSync(join(tmpdir(), 'sys-'));
  const set = (path: string, content: string | number) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), `${content}\n`);
  };
  for (const [path, content] of Object.entries(files)) set(path, content);
  return { root, set };
}
