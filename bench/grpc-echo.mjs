// The limits of gRPC on Node: `raw` answers each request with its own bytes on node:http2; `connect` reads and writes the
// same messages through Connect, and does nothing else.
import http2 from 'node:http2';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { GRPCInferenceService } from '../dist/api/inference/proto/open_inference_grpc_pb.js';

const server = process.env.BENCH_KIND === 'raw' ? raw() : throughConnect();
server.listen(0, '127.0.0.1', () => console.log(`127.0.0.1:${server.address().port}`));
process.on('SIGTERM', () => process.exit(0));

function raw() {
  const plain = http2.createServer();
  plain.on('stream', (stream) => {
    const chunks = [];
    stream.on('error', () => {});
    stream.on('data', (chunk) => chunks.push(chunk));
    stream.on('end', () => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc+proto' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks));
    });
  });
  return plain;
}

function throughConnect() {
  return http2.createServer(
    connectNodeAdapter({
      grpc: true,
      grpcWeb: false,
      connect: false,
      routes: (router) =>
        router.service(GRPCInferenceService, {
          modelInfer: ({ modelName, id }) => ({
            modelName,
            modelVersion: '1',
            id,
            outputs: [{ name: 'output', datatype: 'FP32', shape: [1n, 1n] }],
            rawOutputContents: [new Uint8Array(4)],
          }),
        }),
    }),
  );
}
