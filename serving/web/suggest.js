// Suggestions while typing: a combobox with a list, by the ARIA authoring practices.

import * as api from "./api.js";
import {page} from "./context.js";
import {byId, h} from "./dom.js";

const WAIT = 120; // milliseconds after the last key
const MOST = 8;
const KINDS = {title: "item", word: "word", category: "category"};

export function suggestions({choose}) {
  const input = byId("query");
  const list = byId("suggestions");
  let found = [];
  let at = -1;
  let timer = 0;
  let request = new AbortController();

  function close() {
    clearTimeout(timer);
    request.abort();
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    mark(-1);
  }

  function mark(place) {
    at = place;
    [...list.children].forEach((each, index) => each.setAttribute("aria-selected", String(index === at)));
    if (at < 0) {
      input.removeAttribute("aria-activedescendant");
    } else {
      input.setAttribute("aria-activedescendant", list.children[at].id);
      list.children[at].scrollIntoView({block: "nearest"});
    }
  }

  function option(each, index) {
    const typed = input.value.trim().toLowerCase();
    const start = each.text.toLowerCase().indexOf(typed);
    const text = start < 0
      ? [each.text]
      : [each.text.slice(0, start), h("b", {}, each.text.slice(start, start + typed.length)),
        each.text.slice(start + typed.length)];
    return h(
      "li",
      {
        role: "option", id: `suggestion-${index}`, "aria-selected": "false",
        onmousedown: (event) => event.preventDefault(), // the field keeps the focus
        onclick: () => take(each),
      },
      h("span", {}, ...text), h("small", {}, KINDS[each.kind] ?? each.kind),
    );
  }

  function take(each) {
    input.value = each.text;
    close();
    choose(each);
  }

  async function ask() {
    const text = input.value.trim();
    request.abort();
    if (!text) return close();
    request = new AbortController();
    try {
      found = (await api.suggest(text.slice(0, 200), MOST, page.state.user, request.signal)).suggestions;
    } catch {
      return close(); // typing goes on without suggestions
    }
    if (!found.length || document.activeElement !== input) return close();
    list.replaceChildren(...found.map(option));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    mark(-1);
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT);
  });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    const isOpen = !list.hidden;
    if (event.key === "Escape" && isOpen) {
      event.preventDefault();
      close();
    } else if (event.key === "ArrowDown" && !isOpen) {
      event.preventDefault();
      ask();
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && isOpen) {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      const next = at + step;
      mark(next >= found.length ? -1 : next < -1 ? found.length - 1 : next);
    } else if (event.key === "Enter" && isOpen && at >= 0) {
      event.preventDefault();
      take(found[at]);
    }
  });
  return {close};
}
