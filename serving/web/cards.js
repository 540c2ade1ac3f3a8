// Items as pictures with their title, relevance and explanation, and a button for more like each.

import {pictureAddress} from "./api.js";
import {page} from "./context.js";
import {h, icon} from "./dom.js";
import {chooseButton} from "./live.js";

const SIDE = 480; // pixels, of a picture of about 240 on a dense screen

// The first letters of the first two words, or of the id.
export function initials(text) {
  const words = text.match(/[\p{L}\p{N}]+/gu) ?? [];
  return words.slice(0, 2).map((word) => [...word][0].toUpperCase()).join("") || "?";
}

// A number of 0 to 5 that is always the same for the same text: the colour of a placeholder.
export function shade(text) {
  let sum = 0;
  for (const letter of text) sum = (sum * 31 + letter.codePointAt(0)) % 9973;
  return sum % 6;
}

// A picture over its placeholder; a picture that cannot be had is taken away.
export function picture(id, title, {has, side = SIDE} = {}) {
  const name = title ?? id;
  const place = h(
    "div", {class: `picture shade-${shade(name)}`},
    h("span", {class: "initials", "aria-hidden": "true"}, initials(name)),
  );
  if (has) {
    const image = h("img", {alt: "", loading: "lazy", decoding: "async"});
    pictureAddress(id, side, page.state.user).then((found) => { image.src = found; }, () => image.remove());
    image.addEventListener("error", () => image.remove());
    image.addEventListener("load", () => place.classList.add("loaded"));
    place.append(image);
  }
  return place;
}

export function card(each, {pictures, withRelevance, more}) {
  const name = each.title ?? each.item_id;
  const why = each.explanation?.text ?? each.reason?.text ?? "";
  const has = pictures && each.image !== null;
  return h(
    "li", {class: "card", "data-item": each.item_id},
    picture(each.item_id, each.title, {has}),
    h(
      "div", {class: "text"},
      h("h2", {title: name}, name),
      withRelevance && relevance(each.relevance),
      why && h("p", {class: "why"}, sentence(why)),
      h(
        "div", {class: "actions"},
        more && h(
          "button", {type: "button", class: "more", "aria-label": `More like ${name}`, onclick: () => more(each)},
          icon("like"), "More like this",
        ),
        chooseButton(each, name),
      ),
    ),
  );
}

function relevance(value) {
  const percent = Math.round(100 * value);
  const filled = h("span", {class: "filled"});
  filled.style.width = `${percent}%`;
  return h(
    "div", {class: "relevance"},
    h("span", {class: "gauge", "aria-hidden": "true"}, filled),
    h("span", {}, `${percent}% relevant`),
  );
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export const skeleton = (count) =>
  Array.from({length: count}, () =>
    h("li", {class: "card waiting", "aria-hidden": "true"},
      h("div", {class: "picture"}), h("div", {class: "text"}, h("h2", {}, "\u00a0"), h("p", {class: "why"}, "\u00a0"))));
