// The page: the address says what is shown; every change writes the address and shows it again.

import * as api from "./api.js";
import {skeleton} from "./cards.js";
import {ASKED, STEP, canSearch, page} from "./context.js";
import {byId, plural, show} from "./dom.js";
import {drawFacets} from "./facets.js";
import {listenToChanges} from "./live.js";
import {mediaInput} from "./media.js";
import {drawParts, drawPersonal, drawQuery, toggle} from "./query.js";
import {complain, drawAnswer, drawProblem} from "./results.js";
import * as address from "./state.js";
import {suggestions} from "./suggest.js";

const VALUES = 60; // of a field, at most
let running = new AbortController();
let asker = ""; // for whom page.server and page.seen are
let isDrawn = false;
let counted = {key: null, items: null}; // hits of the last query before filters

page.go = (changes, {replace = false, focus = null} = {}) => {
  page.state = {...page.state, ...changes};
  address.write(page.state, {replace});
  run();
  if (focus) byId(focus).focus({preventScroll: true});
};

page.again = () => listen();
listenToChanges();
start();

async function run() {
  running.abort();
  running = new AbortController();
  const {signal} = running;
  const found = address.read();
  page.state = found.state;
  drawQuery();
  byId("results").setAttribute("aria-busy", "true");
  if (!byId("items").children.length) byId("items").replaceChildren(...skeleton(8));
  try {
    await knowServer();
    await knowItems(signal);
    const answer = await ask(page.state, signal);
    if (signal.aborted) return;
    drawAnswer(answer, found.lost);
    await drawCounts(answer, signal);
  } catch (error) {
    if (error.name !== "AbortError" && !signal.aborted) drawProblem(error);
  } finally {
    if (!signal.aborted) byId("results").setAttribute("aria-busy", "false");
  }
}

// Where items have owners, another person sees other items.
async function knowServer() {
  const {user} = page.state;
  if (!page.server.owned || user === asker) return;
  asker = user;
  page.seen.clear();
  page.server = await api.about(user);
  drawAbout();
}

// Titles and pictures of the items in the query, which an address names by their ids alone.
async function knowItems(signal) {
  for (const id of page.state.like.filter((each) => !page.seen.has(each))) {
    const found = await api.item(id, page.state.user, signal);
    page.seen.set(id, {title: found.title, has: found.picture});
    drawParts();
  }
}

function ask(wanted, signal) {
  const {filters} = wanted;
  if (address.isSearch(wanted)) {
    if (!canSearch()) return api.similar(wanted.like[0], STEP, wanted.user, signal);
    const body = {k: ASKED, filters, clauses: wanted.like.map((id) => ({item_id: id}))};
    if (wanted.q) body.query = wanted.q;
    if (wanted.user) body.user_id = wanted.user;
    if (wanted.user && wanted.personal !== null) body.personal = wanted.personal;
    if (wanted.all) body.min_relevance = 0;
    return api.search(body, wanted.media, signal);
  }
  if (!page.server.recommends) return {items: []};
  const who = wanted.user ? {user_id: wanted.user} : {history: []};
  return api.recommend({...who, k: 2 * STEP, filters}, signal);
}

async function drawCounts(answer, signal) {
  if (!address.isSearch(page.state) && !page.server.recommends) return show(byId("facets"));
  const items = await beforeFilters(answer, signal);
  const who = page.state.user ? {user_id: page.state.user} : {};
  const found = await api.facets({...who, items, filters: page.state.filters, k: VALUES}, signal);
  if (!signal.aborted) drawFacets(found.facets, page.state.filters, toggle);
}

// Ids of the hits without the filters, which a filter is counted among; null is the whole catalogue.
async function beforeFilters(answer, signal) {
  if (!address.isSearch(page.state)) return null;
  const bare = {...page.state, filters: {}};
  const key = `${address.address(bare)} ${page.state.media.map((each) => each.key)}`;
  if (counted.key !== key) {
    const isBare = Object.keys(page.state.filters).length === 0;
    const whole = isBare ? answer : await ask(bare, signal);
    counted = {key, items: whole.items.map((each) => each.item_id)};
  }
  return counted.items;
}

function listen() {
  const list = suggestions({choose: (each) => page.go({q: each.text.trim()})});
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    list.close();
    page.go({q: byId("query").value.trim(), all: false});
  });
  byId("query").addEventListener("search", () => { // the cross of the field
    if (!byId("query").value && page.state.q) page.go({q: "", all: false});
  });
  byId("person").addEventListener("submit", (event) => {
    event.preventDefault();
    const user = byId("user").value.trim();
    if (user !== page.state.user) page.go({user, personal: user ? page.state.personal : null});
  });
  byId("user").addEventListener("change", () => byId("person").requestSubmit());
  const slider = byId("personal");
  slider.addEventListener("input", () => drawPersonal(Number(slider.value)));
  slider.addEventListener("change", () => page.go({personal: Number(slider.value)}, {replace: true}));
  byId("personal-auto").addEventListener("click", () => page.go({personal: null}, {replace: true, focus: "personal"}));
  byId("options").addEventListener("click", () => {
    const isOpen = byId("panel").classList.toggle("open");
    byId("options").setAttribute("aria-expanded", String(isOpen));
  });
  byId("home").addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    page.go({...address.empty(), user: page.state.user}, {focus: "query"});
  });
  addEventListener("popstate", run);
}

function drawAbout() {
  byId("name").textContent = page.server.name;
  byId("about").textContent = `${plural(page.server.num_items, "item", "items")} · version ${page.server.model.version}`;
}

function drawServer() {
  drawAbout();
  byId("personal-part").hidden = !canSearch() || !page.server.recommends;
  byId("person").hidden = !page.server.recommends && !page.server.owned;
  if (page.server.owned) byId("user-help").textContent = "Shown are this person's items, and those of nobody.";
  if (canSearch()) {
    const ways = {text: "words", image: "a picture", audio: "your voice"};
    const known = Object.keys(ways).filter((kind) => page.server.queries.includes(kind));
    const [last, ...others] = known.map((kind) => ways[kind]).reverse();
    byId("query").placeholder = `Search by ${[others.reverse().join(", "), last].filter(Boolean).join(" or ")}`;
    const add = (kind, blob, name) => {
      const media = page.state.media.filter((each) => each.kind !== kind);
      page.go({media: [...media, address.keep(kind, blob, name)], all: false}, {focus: "query"});
    };
    mediaInput({kinds: page.server.queries, add, complain});
  } else {
    byId("query").disabled = true;
    byId("query").placeholder = "This model has no search";
  }
}

async function start() {
  try {
    asker = address.read().state.user;
    page.server = await api.about(asker);
  } catch (error) {
    return drawProblem(error);
  }
  if (isDrawn) drawAbout();
  else drawServer();
  isDrawn = true;
  await run();
}

listen();
listenToChanges();
start();
