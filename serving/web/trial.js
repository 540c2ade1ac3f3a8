// The form that sends one operation to this server and shows the answer.

import {h, show} from "./dom.js";
import {bodyExample} from "./schemas.js";

const MAX_SHOWN = 100000; // characters of an answer

export function trial(path, method, described, description) {
  const parameters = (described.parameters ?? []).map((each) => ({...each, input: parameterInput(each)}));
  const content = described.requestBody?.content ?? {};
  const json = content["application/json"]?.schema;
  const body = json && h("textarea", {rows: 8, spellcheck: "false"});
  if (body) body.value = JSON.stringify(bodyExample(json, description), null, 2);
  const files = fileInputs(content["multipart/form-data"]?.schema);
  const answer = h("div", {role: "status", class: "answer"});
  answer.hidden = true;
  const send = async (event) => {
    event.preventDefault();
    show(answer, h("p", {}, "asking …"));
    try {
      show(answer, ...(await ask(path, method, parameters, body, files)));
    } catch (error) {
      show(answer, h("p", {}, `The request was not sent, or not answered: ${error.message}`));
    }
  };
  return h("form", {class: "trial", onsubmit: send},
    h("h3", {}, "Try it"),
    parameters.map(({name, input}) => h("label", {}, h("code", {}, name), input)),
    body && h("label", {}, "Body", body),
    files.map(({name, input}) => h("label", {}, h("code", {}, name), input)),
    h("button", {type: "submit"}, "Send"),
    answer);
}

function parameterInput({required, schema}) {
  const input = h("input", {required: Boolean(required), spellcheck: "false", autocapitalize: "off"});
  input.value = schema.examples?.[0] ?? schema.default ?? "";
  return input;
}

function fileInputs(schema) {
  const binary = Object.entries(schema?.properties ?? {}).filter(([, each]) => each.items?.format === "binary");
  return binary.map(([name]) => ({name, input: h("input", {type: "file", multiple: true})}));
}

async function ask(path, method, parameters, body, files) {
  const query = new URLSearchParams();
  let address = path;
  for (const {name, in: place, input} of parameters) {
    if (place === "path") address = address.replace(`{${name}}`, encodeURIComponent(input.value));
    else if (place === "query" && input.value !== "") query.append(name, input.value);
  }
  if (query.size) address += `?${query}`;
  const start = performance.now();
  const answer = await fetch(address, {method: method.toUpperCase(), ...sent(body, files)});
  const type = answer.headers.get("Content-Type") ?? "";
  const head = h("p", {}, h("strong", {}, `${answer.status}`), ` ${type}, ${Math.round(performance.now() - start)} ms, `, h("code", {}, address));
  if (type.startsWith("image/")) return [head, h("img", {src: URL.createObjectURL(await answer.blob()), alt: "The answer"})];
  return [head, h("pre", {}, shortened(readable(await answer.text())))];
}

// The JSON alone, or a form of it and the files.
function sent(body, files) {
  if (!body) return {};
  const chosen = files.flatMap(({name, input}) => [...input.files].map((file) => [name, file]));
  if (!chosen.length) return {body: body.value, headers: {"Content-Type": "application/json"}};
  const form = new FormData();
  form.append("request", new Blob([body.value], {type: "application/json"}));
  for (const [name, file] of chosen) form.append(name, file, file.name);
  return {body: form};
}

function readable(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

const shortened = (text) => (text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}\n…` : text);
