// The page: the address says what is shown; every change writes the address and shows it again.

import * as api from "./api.js";
import {card, picture, skeleton} from "./cards.js";
import {byId, h, icon, number, plural, show} from "./dom.js";
import {drawFacets} from "./facets.js";
import {mediaInput} from "./media.js";
import * as address from "./state.js";
import {suggestions} from "./suggest.js";
import {degradedInWords, heardInWords, titleOf} from "./words.js";

const ASKED = 200; // hits that are asked for, and counted by category
const STEP = 24; // items that are shown at once
const VALUES = 60; // of a field, at most
const seen = new Map(); // id -> {title, has: whether there is a picture}
let server = {name: "", num_items: 0, recommends: false, queries: [], pictures: false};
let state = address.empty();
let running = new AbortController();
let counted = {key: null, items: null}; // hits of the last query before filters

const canSearch = () => server.queries.length > 0;
const nameOf = (id) => seen.get(id)?.title ?? id;

function go(changes, {replace = false, focus = null} = {}) {
  state = {...state, ...changes};
  address.write(state, {replace});
  run();
  if (focus) byId(focus).focus({preventScroll: true});
}

async function run() {
  running.abort();
  running = new AbortController();
  const {signal} = running;
  const found = address.read();
  state = found.state;
  drawQuery();
  byId("results").setAttribute("aria-busy", "true");
  if (!byId("items").children.length) byId("items").replaceChildren(...skeleton(8));
  try {
    await knowItems(signal);
    const answer = await ask(state, signal);
    if (signal.aborted) return;
    drawAnswer(answer, found.lost);
    await drawCounts(answer, signal);
  } catch (error) {
    if (error.name !== "AbortError" && !signal.aborted) drawProblem(error);
  } finally {
    if (!signal.aborted) byId("results").setAttribute("aria-busy", "false");
  }
}

// Titles and pictures of the items in the query, which an address names by their ids alone.
async function knowItems(signal) {
  for (const id of state.like.filter((each) => !seen.has(each))) {
    const found = await api.item(id, signal);
    seen.set(id, {title: found.title, has: found.picture});
    drawParts();
  }
}

function ask(wanted, signal) {
  const {filters} = wanted;
  if (address.isSearch(wanted)) {
    if (!canSearch()) return api.similar(wanted.like[0], STEP, signal);
    const body = {k: ASKED, filters, clauses: wanted.like.map((id) => ({item_id: id}))};
    if (wanted.q) body.query = wanted.q;
    if (wanted.user) body.user_id = wanted.user;
    if (wanted.user && wanted.personal !== null) body.personal = wanted.personal;
    if (wanted.all) body.min_relevance = 0;
    return api.search(body, wanted.media, signal);
  }
  if (!server.recommends) return {items: []};
  const who = wanted.user ? {user_id: wanted.user} : {history: []};
  return api.recommend({...who, k: 2 * STEP, filters}, signal);
}

// --- what was asked ---------------------------------------------------------------------------------

function drawQuery() {
  const input = byId("query");
  if (document.activeElement !== input || input.value.trim() !== state.q) input.value = state.q;
  byId("user").value = state.user;
  const slider = byId("personal");
  const isUsed = Boolean(state.user) && address.isSearch(state) && canSearch();
  slider.disabled = !isUsed;
  slider.value = state.personal ?? 0.5;
  slider.classList.toggle("automatic", state.personal === null);
  drawPersonal(state.personal);
  byId("personal-auto").hidden = state.personal === null || !isUsed;
  byId("personal-help").textContent = isUsed ? "" : state.user
    ? "Takes effect in a search."
    : "Name a user to order a search by their taste.";
  drawParts();
  drawChosen();
}

function drawPersonal(value) {
  const text = value === null ? "automatic" : `${Math.round(100 * value)}%`;
  byId("personal-value").textContent = text;
  byId("personal").setAttribute("aria-valuetext", text);
}

// Items, pictures and sounds of the query, each with a button that takes it out.
function drawParts() {
  const likes = state.like.map((id) => part(
    picture(id, nameOf(id), {has: server.pictures && seen.get(id)?.has, side: 96}), nameOf(id),
    () => go({like: state.like.filter((each) => each !== id)}, {focus: "query"}),
  ));
  const files = state.media.map((each) => part(
    thumbnail(each), each.name,
    () => go({media: state.media.filter((other) => other !== each)}, {focus: "query"}),
  ));
  show(byId("parts"), ...likes, ...files);
}

function part(look, name, remove) {
  return h(
    "li", {class: "part"}, look, h("span", {class: "part-name"}, name),
    h("button", {type: "button", "aria-label": `Remove ${name}`, title: "Remove", onclick: remove}, icon("cross")),
  );
}

function thumbnail(each) {
  if (each.kind === "image") return h("div", {class: "picture"}, h("img", {alt: "", src: each.url}));
  return h("div", {class: "picture"}, icon(each.kind === "audio" ? "sound" : "film"));
}

function drawChosen() {
  const chosen = Object.entries(state.filters).flatMap(([field, values]) => values.map((value) => [field, value]));
  const chips = chosen.map(([field, value]) => h(
    "li", {}, h(
      "button",
      {type: "button", "aria-label": `Remove the filter ${field}: ${value}`, onclick: () => toggle(field, value)},
      h("span", {class: "field"}, `${field}:`), ` ${value} `, icon("cross"),
    ),
  ));
  if (chosen.length > 1) {
    const clear = h("button", {type: "button", class: "link", onclick: () => go({filters: {}})}, "Clear all");
    chips.push(h("li", {}, clear));
  }
  show(byId("chosen"), ...chips);
  const set = chosen.length + (state.user ? 1 : 0);
  byId("options-count").textContent = set;
  byId("options-count").hidden = !set;
}

const toggle = (field, value) => go({filters: address.toggled(state.filters, field, value)});

// --- what was found ---------------------------------------------------------------------------------

function drawAnswer(answer, numLost) {
  const isSearch = address.isSearch(state);
  const {items} = answer;
  for (const each of items) seen.set(each.item_id, {title: each.title, has: each.image !== null});
  byId("problem").hidden = true;
  const degraded = answer.degraded ?? [];
  byId("title").textContent = heading(isSearch, items.length, degraded);
  byId("summary").textContent = summary(isSearch, items.length);
  document.title = [isSearch ? titleOf(state, nameOf) : "", server.name].filter(Boolean).join(" · ");
  drawNotes(answer, isSearch, numLost);
  drawItems(items, isSearch);
}

function heading(isSearch, count, degraded) {
  if (isSearch) return count ? titleOf(state, nameOf) : `Nothing fits ${titleOf(state, nameOf)}`;
  if (!server.recommends) return `Search ${number(server.num_items)} items`;
  const isKnown = state.user && !degraded.length;
  return isKnown ? `Recommended for ${state.user}` : "Popular now";
}

function summary(isSearch, count) {
  if (isSearch) return count >= ASKED ? `The best ${number(count)} items` : plural(count, "item", "items");
  if (!server.recommends) return "Type words, or drop a picture anywhere on this page.";
  return state.user ? "Search, or look through what suits this person." : "Name a person, or search.";
}

function drawNotes(answer, isSearch, numLost) {
  const notes = [
    ...Object.values(answer.transcripts ?? {}).map(heardInWords),
    ...(answer.notes ?? []),
    ...(state.user ? (answer.degraded ?? []).map((each) => degradedInWords(each, isSearch)) : []),
    ...(answer.ignored ?? []).map((id) => `The item ${id} is no longer in the catalogue.`),
    numLost && "A file of this search is no longer here; choose it again.",
  ];
  const lines = notes.filter(Boolean).map((text) => h("li", {}, text));
  if (isSearch && state.all) {
    const back = h("button", {type: "button", class: "link", onclick: () => go({all: false})}, "Only what fits");
    lines.push(h("li", {}, "Less relevant items are shown, too. ", back));
  }
  show(byId("notes"), ...lines);
}

function drawItems(items, isSearch) {
  const withRelevance = items.some((each) => each.relevance !== undefined && each.relevance < 1);
  const more = (each) => {
    scrollTo({top: 0});
    go({q: "", media: [], all: false, like: [each.item_id]}, {focus: "results"});
  };
  const draw = (each) => card(each, {pictures: server.pictures, withRelevance, more});
  byId("items").replaceChildren(...items.slice(0, STEP).map(draw));
  drawEnd(items, isSearch, draw);
}

function drawEnd(items, isSearch, draw) {
  const list = byId("items");
  const rest = items.length - list.children.length;
  if (rest > 0) {
    const button = h("button", {type: "button", onclick: () => {
      const from = list.children.length;
      list.append(...items.slice(from, from + STEP).map(draw));
      list.children[from].querySelector("button")?.focus();
      drawEnd(items, isSearch, draw);
    }}, `Show ${number(Math.min(STEP, rest))} more`);
    show(byId("end"), button);
    return;
  }
  const isCut = isSearch && canSearch() && !state.all && items.length < ASKED;
  const all = h("button", {type: "button", onclick: () => go({all: true})}, "Show less relevant items, too");
  show(byId("end"), isCut && h("p", {}, items.length ? "Nothing else fits well enough." : ""), isCut && all);
}

async function drawCounts(answer, signal) {
  if (!address.isSearch(state) && !server.recommends) return show(byId("facets"));
  const items = await beforeFilters(answer, signal);
  const found = await api.facets({items, filters: state.filters, k: VALUES}, signal);
  if (!signal.aborted) drawFacets(found.facets, state.filters, toggle);
}

// Ids of the hits without the filters, which a filter is counted among; null is the whole catalogue.
async function beforeFilters(answer, signal) {
  if (!address.isSearch(state)) return null;
  const bare = {...state, filters: {}};
  const key = `${address.address(bare)} ${state.media.map((each) => each.key)}`;
  if (counted.key !== key) {
    const isBare = Object.keys(state.filters).length === 0;
    const whole = isBare ? answer : await ask(bare, signal);
    counted = {key, items: whole.items.map((each) => each.item_id)};
  }
  return counted.items;
}

function drawProblem(error) {
  byId("title").textContent = "This did not work";
  byId("summary").textContent = "";
  byId("items").replaceChildren();
  show(byId("notes"));
  show(byId("end"));
  complain(error.message);
}

function complain(text) {
  show(byId("problem"), h("p", {}, text));
}

// --- start ------------------------------------------------------------------------------------------

function listen() {
  const list = suggestions({choose: (each) => go({q: each.text.trim()})});
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    list.close();
    go({q: byId("query").value.trim(), all: false});
  });
  byId("query").addEventListener("search", () => { // the cross of the field
    if (!byId("query").value && state.q) go({q: "", all: false});
  });
  byId("person").addEventListener("submit", (event) => {
    event.preventDefault();
    const user = byId("user").value.trim();
    if (user !== state.user) go({user, personal: user ? state.personal : null});
  });
  byId("user").addEventListener("change", () => byId("person").requestSubmit());
  const slider = byId("personal");
  slider.addEventListener("input", () => drawPersonal(Number(slider.value)));
  slider.addEventListener("change", () => go({personal: Number(slider.value)}, {replace: true}));
  byId("personal-auto").addEventListener("click", () => go({personal: null}, {replace: true, focus: "personal"}));
  byId("options").addEventListener("click", () => {
    const isOpen = byId("panel").classList.toggle("open");
    byId("options").setAttribute("aria-expanded", String(isOpen));
  });
  byId("home").addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    go({...address.empty(), user: state.user}, {focus: "query"});
  });
  addEventListener("popstate", run);
}

function drawServer() {
  byId("name").textContent = server.name;
  byId("about").textContent = `${plural(server.num_items, "item", "items")} · version ${server.model.version}`;
  byId("personal-part").hidden = !canSearch() || !server.recommends;
  byId("person").hidden = !server.recommends;
  if (canSearch()) {
    const voice = server.queries.includes("audio") ? " or your voice" : "";
    if (server.queries.includes("image")) byId("query").placeholder = `Search by words, a picture${voice}`;
    else byId("query").placeholder = `Search by words${voice}`;
    const add = (kind, blob, name) => {
      const media = state.media.filter((each) => each.kind !== kind);
      go({media: [...media, address.keep(kind, blob, name)], all: false}, {focus: "query"});
    };
    mediaInput({kinds: server.queries, add, complain});
  } else {
    byId("query").disabled = true;
    byId("query").placeholder = "This model has no search";
  }
}

async function start() {
  listen();
  try {
    server = await api.about();
  } catch (error) {
    return drawProblem(error);
  }
  drawServer();
  await run();
}

start();
