// `npm start`: sets up whatever is missing, then serves, with the first example on the very first start.
// package.json says `exec node …`, so that no shell stands between npm and the server when npm passes a signal on.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { checkNode, installPackages, root } from './setup.mjs';

checkNode();
await installPackages({ dev: false });
// Loaded only now: building needs nothing but Node, yet reads better after the packages are there.
const { build } = await import('./build.mjs');
await build();

// In this very process: Ctrl-C and SIGTERM reach the server without a middleman, and no second Node stays in memory.
process.argv = [process.execPath, join(root, 'dist/main.js'), 'up', '--example', ...process.argv.slice(2)];
await import(pathToFileURL(join(root, 'dist/main.js')).href);
