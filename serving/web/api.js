// Requests to the endpoint; an error answer becomes an Error whose message is in words.

const KEY = "recsys-key"; // until the window is closed

export const key = () => sessionStorage.getItem(KEY) ?? "";
export const keepKey = (text) => (text ? sessionStorage.setItem(KEY, text) : sessionStorage.removeItem(KEY));
const authorized = (headers = {}) => (key() ? {...headers, Authorization: `Bearer ${key()}`} : headers);

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, {...options, headers: authorized(options.headers)});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is it still running, and are you online?");
  }
  const body = await response.json().catch(() => null);
  if (response.ok) return body;
  throw new Error(inWords(body?.error, response.status));
}

// "history.2.item: unknown item; did you mean '260'?"
function inWords(problem, status) {
  if (status === 401) return "This server asks for an API key; enter one under “Person and filters”.";
  if (!problem?.message) return `The server answered with an error (${status}).`;
  const field = problem.field ? `${problem.field}: ` : "";
  return `${field}${problem.message}`;
}

const json = (body, signal) => ({
  method: "POST",
  headers: {"Content-Type": "application/json"},
  body: JSON.stringify(body),
  signal,
});

// Items with an owner exist for the person who asks, who is named in every request.
const query = (values, user) => new URLSearchParams(user ? {...values, user_id: user} : values);
export const itemPath = (id) => `/v1/items/${encodeURIComponent(id)}`;
export const picturePath = (id, side, user) => `${itemPath(id)}/image?${query({side}, user)}`;

// An address for an image: with a key the picture is fetched, since an image sends none.
export async function pictureAddress(id, side, user) {
  const path = picturePath(id, side, user);
  if (!key()) return path;
  const response = await fetch(path, {headers: authorized()});
  if (!response.ok) throw new Error(`no picture (${response.status})`);
  return URL.createObjectURL(await response.blob());
}

export const addEvent = (event) => ask("/v1/events", json({events: [event]}));
export const about = (user) => ask(`/v1/about?${query({}, user)}`);
export const item = (id, user, signal) => ask(`${itemPath(id)}?${query({}, user)}`, {signal});
export const recommend = (body, signal) => ask("/v1/recommend", json(body, signal));
export const facets = (body, signal) => ask("/v1/facets", json(body, signal));
export const suggest = (text, k, user, signal) => ask(`/v1/suggest?${query({q: text, k}, user)}`, {signal});
export const similar = (id, k, user, signal) => ask(`${itemPath(id)}/similar?${query({k}, user)}`, {signal});

// `media`: [{kind: "image", blob, name}], sent as they are.
export function search(body, media, signal) {
  if (!media.length) return ask("/v1/search", json(body, signal));
  const form = new FormData();
  form.append("request", new Blob([JSON.stringify(body)], {type: "application/json"}));
  for (const each of media) form.append(each.kind, each.blob, each.name);
  return ask("/v1/search", {method: "POST", body: form, signal});
}

// A new item, or another one in place of a former one; `picture` is a file, or nothing.
export function putItem(id, fields, picture) {
  const form = new FormData();
  form.append("item", new Blob([JSON.stringify(fields)], {type: "application/json"}));
  if (picture) form.append("image", picture, picture.name);
  return ask(itemPath(id), {method: "PUT", body: form});
}
