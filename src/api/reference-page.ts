/** Renders an OpenAPI document as one plain page: operations by tag, what goes in, what comes out. */

/** The little of OpenAPI that the page shows; everything else in the document is ignored. */
export interface ApiDocument {
  info: { title: string; version: string; description?: string | undefined };
  paths?: unknown;
}

interface Operation {
  method: string;
  path: string;
  tag: string;
  summary: string;
  description: string;
  parameters: { name: string; place: string; required: boolean; description: string }[];
  body: string | undefined;
  responses: { status: string; description: string; schema: string | undefined }[];
}

const methods = ['get', 'post', 'put', 'patch', 'delete'];

export function renderReference(document: ApiDocument): string {
  const operations = readOperations(document.paths);
  const tags = [...new Set(operations.map(({ tag }) => tag))];
  const { title, version, description } = document.info;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)} API</title><style>${style}</style></head><body>
<header><h1>${escapeHtml(title)} API <small>${escapeHtml(version)}</small></h1><p>${escapeHtml(description ?? '')}</p>
<p>Send <code>Authorization: Bearer cw_…</code>. Errors are RFC 9457 problem details. The same as <a href="/api/openapi.json">OpenAPI 3.1</a>.</p>
<nav aria-label="Sections"><ul>${tags.map((tag) => `<li><a href="#${escapeHtml(tag)}">${escapeHtml(tag)}</a></li>`).join('')}</ul></nav></header>
<main>${tags.map((tag) => renderTag(tag, operations)).join('\n')}</main></body></html>`;
}

function renderTag(tag: string, operations: Operation[]): string {
  const own = operations.filter((operation) => operation.tag === tag);
  return `<section id="${escapeHtml(tag)}"><h2>${escapeHtml(tag)}</h2>${own.map(renderOperation).join('\n')}</section>`;
}

function renderOperation(operation: Operation): string {
  const parameters = operation.parameters
    .map(
      ({ name, place, required, description }) =>
        `<li><code>${escapeHtml(name)}</code> in ${escapeHtml(place)}${required ? '' : ', optional'}${description ? `: ${escapeHtml(description)}` : ''}</li>`,
    )
    .join('');
  const responses = operation.responses
    .map(
      ({ status, description, schema }) =>
        `<li><code>${escapeHtml(status)}</code> ${escapeHtml(description)}${schema ? `<pre>${escapeHtml(schema)}</pre>` : ''}</li>`,
    )
    .join('');
  return `<details><summary><b class="${operation.method}">${operation.method.toUpperCase()}</b> <code>${escapeHtml(operation.path)}</code> ${escapeHtml(operation.summary)}</summary>
${operation.description ? `<p>${escapeHtml(operation.description)}</p>` : ''}
${parameters ? `<h3>Parameters</h3><ul>${parameters}</ul>` : ''}
${operation.body ? `<h3>Body</h3><pre>${escapeHtml(operation.body)}</pre>` : ''}
<h3>Answers</h3><ul>${responses}</ul></details>`;
}

function readOperations(paths: unknown): Operation[] {
  return Object.entries(asObject(paths)).flatMap(([path, item]) =>
    Object.entries(asObject(item))
      .filter(([method]) => methods.includes(method))
      .map(([method, operation]) => readOperation(method, path, asObject(operation))),
  );
}

function readOperation(method: string, path: string, operation: Record<string, unknown>): Operation {
  const { tags, summary, description, parameters, requestBody, responses } = operation;
  return {
    method,
    path,
    tag: text(Array.isArray(tags) ? tags[0] : undefined) || 'other',
    summary: text(summary),
    description: text(description),
    parameters: (Array.isArray(parameters) ? parameters : []).map((parameter: unknown) => {
      const { name, in: place, required, description: about, schema } = asObject(parameter);
      return {
        name: text(name),
        place: text(place),
        required: required === true,
        description: text(about) || text(asObject(schema).description),
      };
    }),
    body: showContent(asObject(requestBody).content),
    responses: Object.entries(asObject(responses)).map(([status, response]) => ({
      status,
      description: text(asObject(response).description),
      schema: showContent(asObject(response).content),
    })),
  };
}

function showContent(content: unknown): string | undefined {
  const [entry] = Object.entries(asObject(content));
  if (!entry) return undefined;
  const [type, media] = entry;
  return `${type}\n${outline(asObject(media).schema, '')}`;
}

/** A schema as an example-like outline: `{ name: string, limit?: { requests: integer } }`. */
function outline(schema: unknown, indent: string): string {
  const { type, properties, required, items, enum: values, anyOf, oneOf, const: only } = asObject(schema);
  const variants = Array.isArray(anyOf) ? anyOf : oneOf;
  if (only !== undefined) return JSON.stringify(only);
  if (Array.isArray(values)) return values.map((value) => JSON.stringify(value)).join(' | ');
  if (Array.isArray(variants)) return variants.map((variant) => outline(variant, indent)).join(' | ');
  if (type === 'array') return `[${outline(items, indent)}]`;
  if (type === 'object' && properties !== undefined) {
    const needed = Array.isArray(required) ? required : [];
    const inner = `${indent}  `;
    const lines = Object.entries(asObject(properties)).map(
      ([name, value]) => `${inner}${name}${needed.includes(name) ? '' : '?'}: ${outline(value, inner)}`,
    );
    return `{\n${lines.join('\n')}\n${indent}}`;
  }
  if (Array.isArray(type)) return type.map(String).join(' | ');
  return text(type) || 'any';
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function escapeHtml(value: string): string {
  return value.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

const style = `
:root { color-scheme: light dark; --line: #8884; --muted: light-dark(#555, #aaa); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
small, header p { color: var(--muted); }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 1rem; }
h2 { margin-top: 2.5rem; } h3 { font-size: 1rem; margin-bottom: .25rem; }
details { border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .75rem; margin: .5rem 0; }
summary { cursor: pointer; } summary b { display: inline-block; min-width: 4.5rem; }
pre { overflow: auto; background: #8881; padding: .75rem; border-radius: .5rem; }
code, pre { font: .9em/1.45 ui-monospace, monospace; }
`;
