// What is searched for, in the address, so that it can be shared and the back button works.
//
// /?q=red+shirt&like=i07&user=ann&personal=0.4&f.kind=shoe&f.kind=boot&all=1
// Files cannot stand in an address: the history entry has their numbers, and this page their content.

const FILTER = "f.";
const files = new Map(); // number -> {kind, blob, name, url}

export const empty = () => ({q: "", like: [], media: [], user: "", personal: null, filters: {}, all: false});

export function keep(kind, blob, name) {
  const key = crypto.getRandomValues(new Uint32Array(2)).join("-");
  files.set(key, {key, kind, blob, name, url: URL.createObjectURL(blob)});
  return files.get(key);
}

// The state of the address, and how many files of it are no longer here.
export function read() {
  const given = new URLSearchParams(location.search);
  const state = empty();
  state.q = (given.get("q") ?? "").trim();
  state.like = given.getAll("like").filter(Boolean);
  state.user = (given.get("user") ?? "").trim();
  const personal = Number.parseFloat(given.get("personal"));
  state.personal = personal >= 0 && personal <= 1 ? personal : null;
  state.all = given.get("all") === "1";
  for (const [name, value] of given) {
    const field = name.slice(FILTER.length);
    if (name.startsWith(FILTER) && field) (state.filters[field] ??= []).push(value);
  }
  const keys = history.state?.files ?? [];
  state.media = keys.map((key) => files.get(key)).filter(Boolean);
  const lost = keys.length - state.media.length;
  return {state, lost};
}

export function address(state) {
  const query = new URLSearchParams();
  if (state.q) query.set("q", state.q);
  for (const id of state.like) query.append("like", id);
  if (state.user) query.set("user", state.user);
  if (state.personal !== null) query.set("personal", state.personal);
  for (const [field, values] of Object.entries(state.filters)) {
    for (const value of values) query.append(FILTER + field, value);
  }
  if (state.all) query.set("all", "1");
  const text = query.toString();
  return text ? `/?${text}` : "/";
}

export function write(state, {replace = false} = {}) {
  const entry = {files: state.media.map((each) => each.key)};
  if (replace) history.replaceState(entry, "", address(state));
  else history.pushState(entry, "", address(state));
}

export const isSearch = (state) => Boolean(state.q || state.like.length || state.media.length);

// The filters with `value` of `field` added, or taken out.
export function toggled(filters, field, value) {
  const values = filters[field] ?? [];
  const changed = values.includes(value) ? values.filter((each) => each !== value) : [...values, value];
  const rest = Object.fromEntries(Object.entries(filters).filter(([name]) => name !== field));
  return changed.length ? {...rest, [field]: changed} : rest;
}
