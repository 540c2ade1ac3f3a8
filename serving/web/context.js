// What all parts of the page share; `go` is set by main.js.

import {empty} from "./state.js";

export const ASKED = 200; // hits that are asked for, and counted by category
export const STEP = 24; // items that are shown at once

export const page = {
  server: {name: "", num_items: 0, owned: false, recommends: false, queries: [], pictures: false},
  state: empty(),
  seen: new Map(), // id of an item -> {title, has: whether there is a picture}
  again: null, // show the address again, as after a change of the catalogue
  go: null, // go(changes, {replace, focus}): write the address and show it
};

export const canSearch = () => page.server.queries.length > 0;
export const nameOf = (id) => page.seen.get(id)?.title ?? id;
