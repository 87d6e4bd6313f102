/**
 * The PyPI plug-ins `llm-neuralwatt` and `llm-greenpt`, unmodified, against a stream and an answer that our writer has
 * written. The server around it speaks just enough of chat completions for them: the product has no such door yet.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runPythonAside } from '../../../test/python.ts';
import { unmetered } from '../footprint.ts';
import { gramsCo2e, joules } from '../units.ts';
import { greenPtImpact, neuralwattEnergy } from './figures.ts';
import { type Answered, formsOf } from './forms.ts';
import { energyComment, formFields } from './write.ts';

const answered: Answered = {
  footprint: {
    ...unmetered,
    energyJ: joules(30.42),
    carbonGCo2e: gramsCo2e(1 / 3),
    methodVersion: '7',
    unknown: {},
  },
  source: 'computed',
  queueMs: 1.5,
  batchMs: 0.25,
  computeMs: 386.25,
  batchRequests: 3,
  share: 1 / 3,
};
const forms = { neuralwatt: formsOf(['energy']), greenpt: formsOf(['greenpt']) };
type Vendor = keyof typeof forms;

let server: Server;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'plugins-'));
  server = createServer((request, response) => void chat(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

/** The path begins with whose client asks. */
async function chat(request: IncomingMessage, response: ServerResponse): Promise<void> {
  let body = '';
  for await (const chunk of request) body += chunk;
  const vendor = request.url?.split('/')[1] as Vendor;
  const head = { id: 'c1', created: 1, model: 'm' };
  if (!JSON.parse(body).stream) {
    const message = { role: 'assistant', content: 'hello you' };
    const completion = {
      ...head,
      object: 'chat.completion',
      choices: [{ index: 0, finish_reason: 'stop', message }],
    };
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(`${JSON.stringify(completion).slice(0, -1)}${formFields(answered, forms[vendor])}}`);
    return;
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const event = (choices: unknown[], fields = '') => {
    const chunk = JSON.stringify({ ...head, object: 'chat.completion.chunk', choices });
    response.write(`data: ${chunk.slice(0, -1)}${fields}}\n\n`);
  };
  event([{ index: 0, delta: { role: 'assistant', content: 'hello ' } }]);
  event([{ index: 0, delta: { content: 'you' }, finish_reason: 'stop' }]);
  if (vendor === 'greenpt') event([], formFields(answered, forms.greenpt));
  else response.write(energyComment(answered));
  response.end('data: [DONE]\n\n');
}

const script = `
import importlib, json, sys
vendor, prefix, url = sys.argv[1:]
plugin = importlib.import_module("llm_" + vendor)
model = getattr(plugin, prefix + "Chat")("test", model_name="m", api_base=url)
answers = []
for stream in (True, False):
    response = model.prompt("hi", stream=stream, key="a key")
    answers.append({"text": response.text(), "kept": response.response_json})
print(json.dumps(answers))`;

it.each([
  ['neuralwatt', 'NeuralWatt', 'energy', () => neuralwattEnergy(answered)],
  ['greenpt', 'GreenPT', 'impact', () => greenPtImpact(answered)],
] as const)(
  'llm-%s keeps the figures of a stream and of a whole answer',
  async (vendor, prefix, field, figures) => {
    const { port } = server.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}/${vendor}/v1`;
    const printed = await runPythonAside(script, [vendor, prefix, url], { LLM_USER_PATH: folder });
    const answers = JSON.parse(printed) as { text: string; kept: Record<string, unknown> }[];
    expect(answers.map(({ text }) => text)).toEqual(['hello you', 'hello you']);
    expect(answers.map(({ kept }) => kept[field])).toEqual([figures(), figures()]);
  },
);
