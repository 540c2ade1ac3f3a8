// Elements: found by id, and made without ever reading text as HTML.

export const byId = (id) => document.getElementById(id);

// h("a", {href: "/", class: "x", onclick: f}, "text", child): null and false children are left out.
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value === "boolean") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function show(element, ...children) {
  const kept = children.flat().filter(Boolean);
  element.replaceChildren(...kept);
  element.hidden = kept.length === 0;
}

const PATHS = {
  cross: "M6 6l12 12M18 6L6 18",
  like: "M4 7h10M4 12h7M4 17h5M17 11v8M13 15h8",
  sound: "M5 10v4M9 7v10M13 4v16M17 8v8M21 11v2",
  film: "M4 5h16v14H4zM10 9.5l5 2.5-5 2.5z",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

export const number = (value) => value.toLocaleString("en");
export const plural = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;
