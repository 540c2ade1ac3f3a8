// What changes the shop: an event of the person by a click on an item, an item that is sent, and the key for both.

import * as api from "./api.js";
import {page} from "./context.js";
import {byId, h, show} from "./dom.js";

const MAX_CHOICES = 50; // known values of a field that are offered

const say = (text) => show(byId("change-state"), h("p", {}, text));

// A button of a card: the item becomes the newest one of the person's history, and the list is made again.
export function chooseButton(each, name) {
  if (!page.server.recommends || !page.state.user) return null;
  return h(
    "button", {type: "button", class: "choose", "aria-label": `Choose ${name} for ${page.state.user}`, onclick: () => choose(each, name)},
    "Choose",
  );
}

async function choose(each, name) {
  const {user} = page.state;
  try {
    await api.addEvent({user_id: user, item_id: each.item_id, event_id: crypto.getRandomValues(new Uint32Array(4)).join("-")});
  } catch (error) {
    return say(`This was not added: ${error.message}`);
  }
  say(`${user} chose ${name}. The list is that of their new history.`);
  page.go({}, {replace: true, focus: "results"});
}

export function listenToChanges() {
  const key = byId("key");
  key.value = api.key();
  key.addEventListener("change", () => {
    api.keepKey(key.value.trim());
    page.again();
  });
  byId("add").addEventListener("toggle", () => {
    if (byId("add").open) drawFields();
  });
  byId("add-form").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
}

// An input for each category of the catalogue, with the values that other items have.
async function drawFields() {
  const place = byId("add-fields");
  if (place.children.length) return;
  let found = {facets: []};
  try {
    found = await api.facets({k: MAX_CHOICES});
  } catch (error) {
    say(error.message);
  }
  const own = found.facets.filter(({field}) => field !== "reviewers");
  place.replaceChildren(...own.flatMap(({field, values}) => [
    h("label", {for: `add-${field}`}, field),
    h("input", {id: `add-${field}`, "data-field": field, list: `known-${field}`, autocapitalize: "off"}),
    h("datalist", {id: `known-${field}`}, values.map(({value}) => h("option", {value}))),
  ]));
}

async function send() {
  const title = byId("add-title").value.trim();
  const id = byId("add-id").value.trim() || `new-${Date.now()}`;
  const fields = {title, text: byId("add-text").value.trim() || null};
  for (const input of byId("add-fields").querySelectorAll("input")) {
    const values = input.value.split(",").map((each) => each.trim()).filter(Boolean);
    if (values.length) fields[input.dataset.field] = values;
  }
  byId("add-form").setAttribute("aria-busy", "true");
  say(`Sending ${title} …`);
  try {
    const started = performance.now();
    const stored = await api.putItem(id, fields, byId("add-picture").files[0]);
    const milliseconds = Math.round(performance.now() - started);
    page.server = await api.about(page.state.user);
    const read = `read: ${stored.read.join(", ")}${stored.ignored.length ? `; not read here: ${stored.ignored.join(", ")}` : ""}`;
    say(`${title} is in the catalogue after ${milliseconds} ms (${read}).`);
    byId("add-form").reset();
    page.go({q: title, like: [], media: [], all: true}, {focus: "results"});
  } catch (error) {
    say(`${title} was not added: ${error.message}`);
  } finally {
    byId("add-form").setAttribute("aria-busy", "false");
  }
}
