// The servers people use today, each with a model of `workloads.mjs`, and how each is asked. Every one is installed from
// its package into an environment of its own (`node bench/peers/install.mjs`), with what its documentation advises for
// throughput on two cores. The Python files beside this one are all there is of each.
import { chmodSync, cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { environmentOf, peerFolder } from './install.mjs';
import { listJson, v2Binary, v2Json } from './workloads.mjs';

const v2Path = '/v2/models/example/infer';

/** name → environment, command (given port, model file, workload and a scratch folder), path, request of a row. */
export const peers = {
  'Triton (Python back end), JSON': triton({ request: v2Json }),
  'Triton (Python back end), binary': triton({ request: v2Binary }),
  'Triton (Python back end), binary, 2 instances': triton({ request: v2Binary, instances: 2 }),
  'FastAPI + onnxruntime, 1 worker': fastApi(1),
  'FastAPI + onnxruntime, 2 workers': fastApi(2),
  'KServe model server': python('kserve', 'kserve_server.py', v2Path, v2Json),
  MLServer: { environment: 'mlserver', path: v2Path, request: v2Json, command: mlserver },
  'LitServe (batching)': python('litserve', 'litserve_server.py', '/predict', listJson),
  'BentoML (batching)': { environment: 'bentoml', path: '/predict', request: listJson, command: bentoml },
  'Ray Serve (batching)': python('ray', 'ray_server.py', '/predict', listJson),
};

function python(environment, script, path, request) {
  const program = join(environmentOf(environment), 'bin/python');
  const command = ({ port, file }) => [program, join(peerFolder, script), String(port), file];
  return { environment, path, request, command };
}

function fastApi(workers) {
  const command = ({ port }) => [
    join(environmentOf('fastapi'), 'bin/uvicorn'),
    ...['fastapi_server:app', '--app-dir', peerFolder, '--host', '127.0.0.1', '--port', String(port)],
    ...['--workers', String(workers), '--no-access-log', '--log-level', 'warning'],
  ];
  return { environment: 'fastapi', path: v2Path, request: v2Json, command };
}

function mlserver({ port, file, scratch }) {
  cpSync(join(peerFolder, 'mlserver_model.py'), join(scratch, 'mlserver_model.py'));
  // Adaptive batching and a worker process were slower on the example; both are off in its fastest form.
  const ports = { http_port: port, grpc_port: port + 1, metrics_port: port + 2 };
  const settings = { debug: false, host: '127.0.0.1', ...ports, parallel_workers: 0 };
  const model = { name: 'example', implementation: 'mlserver_model.Example', parameters: { uri: file } };
  writeFileSync(join(scratch, 'settings.json'), JSON.stringify(settings));
  writeFileSync(join(scratch, 'model-settings.json'), JSON.stringify(model));
  return [join(environmentOf('mlserver'), 'bin/mlserver'), 'start', scratch];
}

function bentoml({ port }) {
  return [
    join(environmentOf('bentoml'), 'bin/bentoml'),
    ...['serve', 'bentoml_server:Example', '--host', '127.0.0.1', '--port', String(port)],
    ...['--working-dir', peerFolder],
  ];
}

/** `tritonserver` as nvidia-pytriton carries it: it has a Python back end and dynamic batching, no onnxruntime back end. */
function triton({ request, instances = 1 }) {
  const environment = 'triton';
  const site = join(environmentOf(environment), 'lib/python3.11/site-packages');
  const home = join(site, 'pytriton/tritonserver');
  return {
    environment,
    path: v2Path,
    request,
    /** Where its gRPC door listens. */
    grpcPort: (port) => port + 1,
    command: ({ port, scratch, workload }) => {
      const repository = join(scratch, 'repository');
      mkdirSync(join(repository, 'example/1'), { recursive: true });
      cpSync(join(peerFolder, 'triton_model.py'), join(repository, 'example/1/model.py'));
      writeFileSync(join(repository, 'example/config.pbtxt'), tritonConfig(workload, instances));
      // The wheel keeps a stub for each version of Python apart; the server looks for it beside the back end.
      const backends = join(scratch, 'backends');
      cpSync(join(home, 'backends'), backends, { recursive: true });
      const stub = join(backends, 'python/triton_python_backend_stub');
      cpSync(join(home, 'python_backend_stubs/3.11/triton_python_backend_stub'), stub);
      chmodSync(stub, 0o755);
      chmodSync(join(home, 'bin/tritonserver'), 0o755);
      return [
        join(home, 'bin/tritonserver'),
        ...[`--model-repository=${repository}`, `--backend-directory=${backends}`],
        ...[`--cache-directory=${join(home, 'caches')}`, '--allow-metrics=false', '--log-verbose=0'],
        ...['--http-address=127.0.0.1', `--http-port=${port}`],
        ...['--grpc-address=127.0.0.1', `--grpc-port=${port + 1}`],
      ];
    },
    env: {
      PATH: `${join(environmentOf(environment), 'bin')}:${process.env.PATH}`,
      PYTHONPATH: site,
      LD_LIBRARY_PATH: join(site, 'nvidia_pytriton.libs'),
    },
  };
}

function tritonConfig({ inputs, output }, instances) {
  const tensor = ({ name, datatype, shape }) =>
    `{ name: "${name}", data_type: TYPE_${datatype}, dims: [ ${shape.join(', ')} ] }`;
  return `name: "example"
backend: "python"
max_batch_size: 64
input [ ${inputs.map(tensor).join(', ')} ]
output [ ${tensor({ ...output, datatype: 'FP32' })} ]
dynamic_batching { }
instance_group [ { count: ${instances}, kind: KIND_CPU } ]
`;
}
