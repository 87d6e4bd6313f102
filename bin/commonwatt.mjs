#!/usr/bin/env node
import { existsSync } from 'node:fs';

const entry = new URL('../dist/main.js', import.meta.url);
if (!existsSync(entry)) {
  console.error(
    'error: Commonwatt is not built yet\nhint:  run `npm start` (installs, builds and serves) or `npm run build`',
  );
  process.exit(1);
}
await import(entry.href);
