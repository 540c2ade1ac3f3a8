// The documentation of the endpoint, made from /openapi.json: operations by tag, and the schemas of bodies.

import {byId, h, show} from "./dom.js";
import {bodyExample, typeOf} from "./schemas.js";
import {trial} from "./trial.js";

// Blank lines divide paragraphs, and backticks mark code, as in Markdown.
function paragraphs(text) {
  return (text ?? "").trim().split(/\n\s*\n/).filter(Boolean).map((part) => h("p", {}, words(part)));
}

const words = (text) => (text ?? "").split("`").map((part, at) => (at % 2 ? h("code", {}, part) : part));

// Rows of [name, required, schema, description].
function fields(caption, rows) {
  if (!rows.length) return null;
  return h("table", {},
    h("caption", {}, caption),
    h("thead", {}, h("tr", {}, ["name", "type", "meaning"].map((each) => h("th", {scope: "col"}, each)))),
    h("tbody", {}, rows.map(([name, required, schema, description]) => h("tr", {},
      h("th", {scope: "row"}, h("code", {}, name), required && h("span", {class: "required"}, "required")),
      h("td", {}, typeOf(schema)),
      h("td", {}, words(description))))));
}

const properties = (schema) => Object.entries(schema.properties ?? {}).map(([name, each]) =>
  [name, (schema.required ?? []).includes(name), each, each.description]);

function bodies(content, all) {
  return Object.entries(content).map(([type, {schema}]) => {
    const shown = schema.$ref ? h("p", {}, h("code", {}, type), ": ", typeOf(schema)) : fields(`Body, ${type}`, properties(schema));
    const example = type === "application/json" ? bodyExample(schema, all) : undefined;
    return [shown, example !== undefined && h("pre", {"aria-label": "Example of a body"}, JSON.stringify(example, null, 2))];
  }).flat();
}

function answers(responses) {
  const rows = Object.entries(responses).map(([status, each]) => h("tr", {},
    h("th", {scope: "row"}, status),
    h("td", {}, Object.values(each.content ?? {}).slice(0, 1).map(({schema}) => schema && typeOf(schema))),
    h("td", {}, words(each.description))));
  return h("table", {},
    h("caption", {}, "Answers"),
    h("thead", {}, h("tr", {}, ["status", "body", "meaning"].map((each) => h("th", {scope: "col"}, each)))),
    h("tbody", {}, rows));
}

function operation(path, method, described, all) {
  const parameters = (described.parameters ?? []).map((each) =>
    [each.name, each.required, each.schema, each.description ?? each.schema.description]);
  const details = h("details", {id: described.operationId, class: "operation"},
    h("summary", {},
      h("span", {class: `method ${method}`}, method.toUpperCase()),
      h("code", {}, path),
      h("span", {class: "summary"}, described.summary)));
  // Filled when it is opened: most readers open a few.
  details.addEventListener("toggle", () => details.append(
    ...paragraphs(described.description),
    ...[fields("Parameters", parameters)].filter(Boolean),
    ...bodies(described.requestBody?.content ?? {}, all).filter(Boolean),
    answers(described.responses),
    trial(path, method, described, all)), {once: true});
  return details;
}

function groups(description) {
  const byTag = new Map();
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const [method, described] of Object.entries(methods)) {
      const tag = described.tags?.[0] ?? "other";
      byTag.set(tag, [...(byTag.get(tag) ?? []), operation(path, method, described, description)]);
    }
  }
  return byTag;
}

function schema(name, described) {
  return h("section", {id: `schema-${name}`, class: "schema"},
    h("h3", {}, name),
    ...paragraphs(described.description),
    fields(`Fields of ${name}`, properties(described)) ?? h("p", {}, typeOf(described)));
}

// A link to a closed operation opens it.
function openTarget() {
  const target = byId(decodeURIComponent(location.hash.slice(1)));
  if (target?.tagName === "DETAILS") target.open = true;
  target?.scrollIntoView();
}

async function main() {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`/openapi.json: the server answered with status ${answer.status}.`);
  const description = await answer.json();
  document.title = `${description.info.title} API`;
  byId("title").textContent = `${description.info.title} ${description.info.version}`;
  show(byId("description"), ...paragraphs(description.info.description));
  const byTag = groups(description);
  show(byId("contents"), ...[...byTag.keys()].map((tag) => h("a", {href: `#tag-${tag}`}, tag)), h("a", {href: "#schemas"}, "bodies"));
  show(byId("operations"), ...[...byTag].map(([tag, found]) => h("section", {id: `tag-${tag}`}, h("h2", {}, tag), found)));
  show(byId("schema-list"), ...Object.entries(description.components.schemas).sort().map((each) => schema(...each)));
  byId("schemas").hidden = false;
  addEventListener("hashchange", openTarget);
  openTarget();
}

main().catch((error) => show(byId("problem"), h("p", {}, error.message)));
