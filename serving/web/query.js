// What was asked: the field, its further parts, the person, and the filters in use.

import {picture} from "./cards.js";
import {canSearch, nameOf, page} from "./context.js";
import {byId, h, icon, show} from "./dom.js";
import {isSearch, toggled} from "./state.js";

export function drawQuery() {
  const input = byId("query");
  if (document.activeElement !== input || input.value.trim() !== page.state.q) input.value = page.state.q;
  byId("user").value = page.state.user;
  const slider = byId("personal");
  const isUsed = Boolean(page.state.user) && isSearch(page.state) && canSearch();
  slider.disabled = !isUsed;
  slider.value = page.state.personal ?? 0.5;
  slider.classList.toggle("automatic", page.state.personal === null);
  drawPersonal(page.state.personal);
  byId("personal-auto").hidden = page.state.personal === null || !isUsed;
  byId("personal-help").textContent = isUsed ? "" : page.state.user
    ? "Takes effect in a search."
    : "Name a user to order a search by their taste.";
  drawParts();
  drawChosen();
}

export function drawPersonal(value) {
  const text = value === null ? "automatic" : `${Math.round(100 * value)}%`;
  byId("personal-value").textContent = text;
  byId("personal").setAttribute("aria-valuetext", text);
}

// Items, pictures and sounds of the query, each with a button that takes it out.
export function drawParts() {
  const likes = page.state.like.map((id) => part(
    picture(id, nameOf(id), {has: page.server.pictures && page.seen.get(id)?.has, side: 96}), nameOf(id),
    () => page.go({like: page.state.like.filter((each) => each !== id)}, {focus: "query"}),
  ));
  const files = page.state.media.map((each) => part(
    thumbnail(each), each.name,
    () => page.go({media: page.state.media.filter((other) => other !== each)}, {focus: "query"}),
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
  const chosen = Object.entries(page.state.filters).flatMap(([field, values]) => values.map((value) => [field, value]));
  const chips = chosen.map(([field, value]) => h(
    "li", {}, h(
      "button",
      {type: "button", "aria-label": `Remove the filter ${field}: ${value}`, onclick: () => toggle(field, value)},
      h("span", {class: "field"}, `${field}:`), ` ${value} `, icon("cross"),
    ),
  ));
  if (chosen.length > 1) {
    const clear = h("button", {type: "button", class: "link", onclick: () => page.go({filters: {}})}, "Clear all");
    chips.push(h("li", {}, clear));
  }
  show(byId("chosen"), ...chips);
  const set = chosen.length + (page.state.user ? 1 : 0);
  byId("options-count").textContent = set;
  byId("options-count").hidden = !set;
}

export const toggle = (field, value) => page.go({filters: toggled(page.state.filters, field, value)});
