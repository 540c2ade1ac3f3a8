// What was found: the heading, notes, items, the end of the list, or a problem in words.

import {card} from "./cards.js";
import {ASKED, STEP, canSearch, nameOf, page} from "./context.js";
import {byId, h, number, plural, show} from "./dom.js";
import {isSearch as isSearchState} from "./state.js";
import {degradedInWords, heardInWords, titleOf} from "./words.js";

export function drawAnswer(answer, numLost) {
  const isSearch = isSearchState(page.state);
  const {items} = answer;
  for (const each of items) page.seen.set(each.item_id, {title: each.title, has: each.image !== null});
  byId("problem").hidden = true;
  const degraded = answer.degraded ?? [];
  byId("title").textContent = heading(isSearch, items.length, degraded);
  byId("summary").textContent = summary(isSearch, items.length);
  document.title = [isSearch ? titleOf(page.state, nameOf) : "", page.server.name].filter(Boolean).join(" · ");
  drawNotes(answer, isSearch, numLost);
  drawItems(items, isSearch);
}

function heading(isSearch, count, degraded) {
  if (isSearch) return count ? titleOf(page.state, nameOf) : `Nothing fits ${titleOf(page.state, nameOf)}`;
  if (!page.server.recommends) return `Search ${number(page.server.num_items)} items`;
  const isKnown = page.state.user && !degraded.length;
  return isKnown ? `Recommended for ${page.state.user}` : "Popular now";
}

function summary(isSearch, count) {
  if (isSearch && !count) return "Try other words, or fewer filters.";
  if (isSearch) return count >= ASKED ? `The best ${number(count)} items` : plural(count, "item", "items");
  if (!page.server.recommends) return "Type words, or drop a picture here";
  return page.state.user ? "What suits this person" : "Name a person, or search";
}

function drawNotes(answer, isSearch, numLost) {
  const notes = [
    ...Object.values(answer.transcripts ?? {}).map(heardInWords),
    ...(answer.notes ?? []),
    ...(page.state.user ? (answer.degraded ?? []).map((each) => degradedInWords(each, isSearch)) : []),
    ...(answer.ignored ?? []).map((id) => `The item ${id} is no longer in the catalogue.`),
    numLost && "A file of this search is no longer here; choose it again.",
  ];
  const lines = notes.filter(Boolean).map((text) => h("li", {}, text));
  if (isSearch && page.state.all) {
    const back = h("button", {type: "button", class: "link", onclick: () => page.go({all: false})}, "Only what fits");
    lines.push(h("li", {}, "Less relevant items are shown, too. ", back));
  }
  show(byId("notes"), ...lines);
}

function drawItems(items, isSearch) {
  const withRelevance = items.some((each) => each.relevance !== undefined && each.relevance < 1);
  const more = (each) => {
    scrollTo({top: 0});
    page.go({q: "", media: [], all: false, like: [each.item_id]}, {focus: "results"});
  };
  const draw = (each) => card(each, {pictures: page.server.pictures, withRelevance, more});
  byId("items").replaceChildren(...items.slice(0, STEP).map(draw));
  drawEnd(items, isSearch && (withRelevance || !items.length), draw);
}

// `canEnd`: the list may have ended where relevance fell too low.
function drawEnd(items, canEnd, draw) {
  const list = byId("items");
  const rest = items.length - list.children.length;
  if (rest > 0) {
    const button = h("button", {type: "button", onclick: () => {
      const from = list.children.length;
      list.append(...items.slice(from, from + STEP).map(draw));
      list.children[from].querySelector("button")?.focus();
      drawEnd(items, canEnd, draw);
    }}, `Show ${number(Math.min(STEP, rest))} more`);
    show(byId("end"), button);
    return;
  }
  const isCut = canEnd && canSearch() && !page.state.all && items.length < ASKED;
  if (!isCut) return show(byId("end"));
  const offer = items.length ? "Show less relevant items, too" : "Show the nearest items all the same";
  const all = h("button", {type: "button", onclick: () => page.go({all: true})}, offer);
  show(byId("end"), items.length > 0 && h("p", {}, "Nothing else fits well enough."), all);
}

export function drawProblem(error) {
  byId("title").textContent = "This did not work";
  byId("summary").textContent = "";
  byId("items").replaceChildren();
  show(byId("notes"));
  show(byId("end"));
  complain(error.message);
}

export function complain(text) {
  show(byId("problem"), h("p", {}, text));
}
