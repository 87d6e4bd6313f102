// The limit to compare with: Fastify that parses the same body and sends the same reply, and does nothing else.
import Fastify from 'fastify';

const reply = JSON.parse(process.env.BENCH_REPLY);
const app = Fastify();
app.post('/v2/models/:model/infer', async () => reply);
console.log(await app.listen({ host: '127.0.0.1', port: 0 }));
process.on('SIGTERM', () => process.exit(0));
