// Elements from words, never from HTML: names, keys and messages come from other machines.

const SVG = "http://www.w3.org/2000/svg";

export const find = (id) => document.getElementById(id);

function put(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const h = (tag, attributes, ...children) => put(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => put(document.createElementNS(SVG, tag), attributes, children);

export function text(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

// Brings the children of `parent` in line with `items`, and keeps those that stay: focus and scroll survive.
export function keyed(parent, items, keyOf, create, update) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let child = before.get(key);
    if (child) before.delete(key);
    else {
      child = create(item);
      child.dataset.key = key;
    }
    update(child, item);
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
  for (const child of before.values()) child.remove();
}

// Each node keeps the colour it was first seen with.
const colours = new Map();
export function colour(name) {
  if (!colours.has(name)) colours.set(name, `var(--c${colours.size % 12})`);
  return colours.get(name);
}

export const swatch = (name) => h("span", { class: "swatch", "--node": colour(name), "aria-hidden": "true" });

export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 0.001) return `${Math.max(1, Math.round(value * 1e6))} µs`;
  if (value < 0.1) return `${(value * 1e3).toPrecision(2)} ms`;
  if (value < 1) return `${Math.round(value * 1e3)} ms`;
  if (value < 120) return `${value.toPrecision(3)} s`;
  return value < 7200 ? `${Math.round(value / 60)} min` : `${Math.round(value / 3600)} h`;
}

export function number(value) {
  if (value >= 1e6) return `${(value / 1e6).toPrecision(3)} M`;
  if (value >= 1e4) return `${(value / 1e3).toPrecision(3)} k`;
  return Number.isInteger(value) || value >= 100 ? String(Math.round(value)) : value.toFixed(1);
}

export function bytes(value) {
  return value < 1024 ? `${value} B` : value < 1048576 ? `${(value / 1024).toFixed(1)} KiB` : `${(value / 1048576).toFixed(1)} MiB`;
}

export const clock = (at) => {
  const date = new Date(at);
  return h("time", { datetime: date.toISOString(), title: date.toLocaleString() }, date.toLocaleTimeString([], { hour12: false }));
};

export async function ask(path, query) {
  const response = await fetch(`${path}?${new URLSearchParams(query || {})}`);
  const told = await response.json();
  if (!response.ok) throw new Error(told.error || response.statusText);
  return told;
}
