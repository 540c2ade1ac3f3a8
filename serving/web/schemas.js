// Schemas of OpenAPI in words, with links to those that have a name, and examples of them.

import {h} from "./dom.js";

export const nameOf = (schema) => schema.$ref?.split("/").pop();
export const schemaOf = (schema, description) =>
  schema.$ref ? description.components.schemas[nameOf(schema)] : schema;

// Parts of text and links, ready to be the children of an element.
export function typeOf(schema) {
  if (schema.$ref) return [h("a", {href: `#schema-${nameOf(schema)}`}, nameOf(schema))];
  const any = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (any) return [...joined(any.map(typeOf), " or "), limits(schema)];
  if (schema.enum) return [schema.enum.map((each) => JSON.stringify(each)).join(", "), limits(schema)];
  if ("const" in schema) return [JSON.stringify(schema.const)];
  if (schema.type === "array") return ["array of ", ...(schema.items ? typeOf(schema.items) : ["anything"]), limits(schema)];
  const values = schema.additionalProperties;
  if (schema.type === "object" && values) return ["object of ", ...(values === true ? ["anything"] : typeOf(values)), limits(schema)];
  return [schema.format === "binary" ? "file" : (schema.format ?? schema.type ?? "anything"), limits(schema)];
}

const joined = (parts, between) => parts.flatMap((part, at) => (at ? [between, ...part] : part));

const LIMITS = {
  minimum: "at least", maximum: "at most", exclusiveMinimum: "above", exclusiveMaximum: "below", minLength: "characters ≥",
  maxLength: "characters ≤", minItems: "entries ≥", maxItems: "entries ≤", pattern: "pattern",
};

function limits(schema) {
  const found = Object.entries(LIMITS).filter(([name]) => name in schema).map(([name, words]) => `${words} ${schema[name]}`);
  if (schema.default !== undefined && schema.default !== null) found.push(`default ${JSON.stringify(schema.default)}`);
  return found.length ? ` (${found.join(", ")})` : "";
}

// The example that the schema gives, else one of its required fields and those with an example.
export function bodyExample(schema, description) {
  const whole = schemaOf(schema, description);
  if (whole.examples?.length) return whole.examples[0];
  if (whole.default !== undefined) return whole.default;
  const first = (whole.anyOf ?? whole.oneOf ?? whole.allOf)?.[0];
  if (first) return bodyExample(first, description);
  if (whole.enum) return whole.enum[0];
  if (whole.type === "array") return [];
  if (!whole.properties) return {string: "", integer: 0, number: 0, boolean: false, object: {}}[whole.type] ?? null;
  const shown = Object.entries(whole.properties)
    .filter(([name, each]) => whole.required?.includes(name) || schemaOf(each, description).examples?.length);
  return Object.fromEntries(shown.map(([name, each]) => [name, bodyExample(each, description)]));
}
