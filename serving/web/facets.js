// Filters by category value, with the number of items that each would show.

import {h, number, show, byId} from "./dom.js";

const FEW = 8; // values of a field before "all"
const OPEN = 3; // fields that are open at first
const opened = new Map(); // field -> whether the person has opened or closed it
const complete = new Set(); // fields of which all values are shown

export function drawFacets(facets, filters, toggle) {
  const known = new Set(facets.map((each) => each.field));
  const lost = Object.keys(filters).filter((field) => !known.has(field));
  const all = [...facets, ...lost.map((field) => ({field, num_values: 0, values: []}))];
  const held = document.activeElement?.dataset?.key; // the focus stays on what was pressed
  show(byId("facets"), all.map((each, place) => field(each, place, filters[each.field] ?? [], toggle)));
  if (held) byId("facets").querySelector(`[data-key="${CSS.escape(held)}"]`)?.focus();
}

function field(facet, place, wanted, toggle) {
  const counts = new Map(facet.values.map((each) => [each.value, each.count]));
  const values = [...wanted.filter((value) => !counts.has(value)), ...counts.keys()];
  const isLong = values.length > FEW + 2 && !complete.has(facet.field);
  const seen = isLong ? values.filter((value, at) => at < FEW || wanted.includes(value)) : values;
  const list = h("ul", {}, seen.map((value) => choice(facet.field, value, counts.get(value) ?? 0, wanted, toggle)));
  const rest = facet.num_values - counts.size;
  const part = h(
    "details", {class: "facet", open: opened.get(facet.field) ?? (place < OPEN || wanted.length > 0)},
    h("summary", {}, h("span", {}, facet.field.replaceAll("_", " "))),
    h("fieldset", {}, h("legend", {class: "unseen"}, facet.field), list),
    isLong && h(
      "button",
      {
        type: "button", class: "link", "data-key": `${facet.field} all`,
        onclick: (event) => {
          complete.add(facet.field);
          const whole = field(facet, place, wanted, toggle);
          event.target.closest("details").replaceWith(whole);
          whole.querySelectorAll("input")[FEW]?.focus();
        },
      },
      `All ${number(values.length)}`,
    ),
    !isLong && rest > 0 && h("p", {class: "help"}, `and ${number(rest)} rarer`),
  );
  part.addEventListener("toggle", () => opened.set(facet.field, part.open));
  return part;
}

function choice(name, value, count, wanted, toggle) {
  const box = h("input", {type: "checkbox", checked: wanted.includes(value), "data-key": `${name}=${value}`});
  box.addEventListener("change", () => toggle(name, value));
  return h("li", {}, h("label", {}, box, h("span", {class: "value"}, value), h("span", {class: "count"}, number(count))));
}
