// A collector that takes OTLP over HTTP and throws it away.
import { createServer } from 'node:http';

const server = createServer((request, response) => {
  request.resume();
  request.on('end', () => response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end());
}).listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
