// Installs each peer into an environment of its own under .bench-env (nothing of it is needed to use or test the product).
//   node bench/peers/install.mjs [NAME…]
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
export const peerFolder = fileURLToPath(new URL('.', import.meta.url));

/** As seen on PyPI when the figures of bench/README.md were measured. */
const packages = {
  triton: ['nvidia-pytriton==0.7.0', 'onnxruntime==1.32.0', 'numpy<2'],
  fastapi: ['fastapi==0.165.0', 'uvicorn[standard]==0.54.0', 'onnxruntime==1.32.0'],
  kserve: ['kserve==0.21.0', 'onnxruntime==1.32.0'],
  mlserver: ['mlserver==1.7.1', 'onnxruntime==1.32.0'],
  litserve: ['litserve==0.2.19', 'onnxruntime==1.32.0'],
  bentoml: ['bentoml==1.4.40', 'onnxruntime==1.32.0'],
  ray: ['ray[serve]==2.60.0', 'onnxruntime==1.32.0'],
};

export function environmentOf(name) {
  return join(process.env.COMMONWATT_BENCH_ENV ?? join(root, '.bench-env'), name);
}

/** The peers that are there, with their versions. */
export function installed() {
  return Object.entries(packages).flatMap(([name, [requirement]]) => {
    const library = join(environmentOf(name), 'lib');
    if (!existsSync(library)) return [];
    const site = join(library, readdirSync(library)[0], 'site-packages');
    const project = requirement.split(/[[=]/)[0].replaceAll('-', '_');
    const found = readdirSync(site).find(
      (entry) => entry.startsWith(`${project}-`) && entry.endsWith('.dist-info'),
    );
    return found ? [found.replace('.dist-info', '').replace('-', ' ')] : [];
  });
}

function install(name) {
  const folder = environmentOf(name);
  const python = join(folder, 'bin/python');
  if (existsSync(join(folder, '.installed'))) return;
  // Debian's own Python: one built without profile-guided optimisation is 5 to 35 % slower, which would flatter us.
  const system = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3';
  run(system, ['-m', 'venv', folder]);
  run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages[name]]);
  run('touch', [join(folder, '.installed')]);
}

function run(command, args) {
  const { status } = spawnSync(command, args, { stdio: 'inherit' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const names = process.argv.slice(2);
  for (const name of names.length > 0 ? names : Object.keys(packages)) {
    console.log(`installing ${name}: ${packages[name].join(' ')}`);
    install(name);
  }
}
