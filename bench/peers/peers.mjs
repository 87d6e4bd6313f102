// The servers people use today, each with the example network, and how each is asked. Every one is installed from its
// package into an environment of its own (`node bench/peers/install.mjs`), with what its documentation advises for
// throughput on two cores. The Python files beside this one are all there is of each.
import { chmodSync, cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { environmentOf, peerFolder } from './install.mjs';

const rows = (values) => JSON.stringify({ inputs: [values] });
const v2 = (values) =>
  JSON.stringify({ inputs: [{ name: 'input', shape: [1, values.length], datatype: 'FP32', data: values }] });

/** One request of the binary tensor data extension: a JSON head, then the raw numbers. */
export function v2Binary(values) {
  const head = Buffer.from(
    JSON.stringify({
      inputs: [
        {
          name: 'input',
          shape: [1, values.length],
          datatype: 'FP32',
          parameters: { binary_data_size: values.length * 4 },
        },
      ],
      parameters: { binary_data_output: true },
    }),
  );
  const body = Buffer.concat([head, Buffer.from(Float32Array.from(values).buffer)]);
  return {
    body,
    headers: {
      'content-type': 'application/octet-stream',
      'inference-header-content-length': String(head.length),
    },
  };
}

const json = (make) => (values) => ({ body: make(values), headers: { 'content-type': 'application/json' } });

/** name → environment, command (given port, model file and a scratch folder), path, request. */
export const peers = {
  'Triton (Python back end), JSON': triton(json(v2)),
  'Triton (Python back end), binary': triton(v2Binary),
  'FastAPI + onnxruntime, 1 worker': fastApi(1),
  'FastAPI + onnxruntime, 2 workers': fastApi(2),
  'KServe model server': python('kserve', 'kserve_server.py', '/v2/models/example/infer', json(v2)),
  MLServer: {
    environment: 'mlserver',
    path: '/v2/models/example/infer',
    request: json(v2),
    command: ({ port, model, scratch }) => {
      cpSync(join(peerFolder, 'mlserver_model.py'), join(scratch, 'mlserver_model.py'));
      writeFileSync(
        join(scratch, 'settings.json'),
        // Adaptive batching and a worker process were slower on this network; both are off in its fastest form.
        JSON.stringify({
          debug: false,
          host: '127.0.0.1',
          http_port: port,
          grpc_port: port + 1,
          metrics_port: port + 2,
          parallel_workers: 0,
        }),
      );
      writeFileSync(
        join(scratch, 'model-settings.json'),
        JSON.stringify({
          name: 'example',
          implementation: 'mlserver_model.Example',
          parameters: { uri: model },
        }),
      );
      return [join(environmentOf('mlserver'), 'bin/mlserver'), 'start', scratch];
    },
  },
  'LitServe (batching)': python('litserve', 'litserve_server.py', '/predict', json(rows)),
  'BentoML (batching)': {
    environment: 'bentoml',
    path: '/predict',
    request: json(rows),
    command: ({ port }) => [
      join(environmentOf('bentoml'), 'bin/bentoml'),
      'serve',
      'bentoml_server:Example',
      '--host',
      '127.0.0.1',
      '--port',
      String(port),
      '--working-dir',
      peerFolder,
    ],
  },
  'Ray Serve (batching)': python('ray', 'ray_server.py', '/predict', json(rows)),
};

function python(environment, script, path, request) {
  return {
    environment,
    path,
    request,
    command: ({ port, model }) => [
      join(environmentOf(environment), 'bin/python'),
      join(peerFolder, script),
      String(port),
      model,
    ],
  };
}

function fastApi(workers) {
  return {
    environment: 'fastapi',
    path: '/v2/models/example/infer',
    request: json(v2),
    command: ({ port }) => [
      join(environmentOf('fastapi'), 'bin/uvicorn'),
      'fastapi_server:app',
      '--app-dir',
      peerFolder,
      '--host',
      '127.0.0.1',
      '--port',
      String(port),
      '--workers',
      String(workers),
      '--no-access-log',
      '--log-level',
      'warning',
    ],
  };
}

/** `tritonserver` as nvidia-pytriton carries it: it has a Python back end and dynamic batching, no onnxruntime back end. */
function triton(request) {
  return {
    environment: 'triton',
    path: '/v2/models/example/infer',
    request,
    /** Where its gRPC door listens. */
    grpcPort: (port) => port + 1,
    command: ({ port, scratch }) => {
      const home = join(environmentOf('triton'), 'lib/python3.11/site-packages/pytriton/tritonserver');
      const repository = join(scratch, 'repository');
      mkdirSync(join(repository, 'example/1'), { recursive: true });
      cpSync(join(peerFolder, 'triton_model.py'), join(repository, 'example/1/model.py'));
      cpSync(join(peerFolder, 'triton_config.pbtxt'), join(repository, 'example/config.pbtxt'));
      // The wheel keeps a stub for each version of Python apart; the server looks for it beside the back end.
      const backends = join(scratch, 'backends');
      cpSync(join(home, 'backends'), backends, { recursive: true });
      const stub = join(backends, 'python/triton_python_backend_stub');
      cpSync(join(home, 'python_backend_stubs/3.11/triton_python_backend_stub'), stub);
      chmodSync(stub, 0o755);
      chmodSync(join(home, 'bin/tritonserver'), 0o755);
      return [
        join(home, 'bin/tritonserver'),
        `--model-repository=${repository}`,
        `--backend-directory=${backends}`,
        `--cache-directory=${join(home, 'caches')}`,
        '--http-address=127.0.0.1',
        `--http-port=${port}`,
        '--grpc-address=127.0.0.1',
        `--grpc-port=${port + 1}`,
        '--allow-metrics=false',
        '--log-verbose=0',
      ];
    },
    env: () => {
      const site = join(environmentOf('triton'), 'lib/python3.11/site-packages');
      return {
        PATH: `${join(environmentOf('triton'), 'bin')}:${process.env.PATH}`,
        PYTHONPATH: site,
        LD_LIBRARY_PATH: join(site, 'nvidia_pytriton.libs'),
      };
    },
  };
}
