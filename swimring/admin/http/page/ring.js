// The ring: the outer band is the circle as it is, range by range; the inner one adds up what each node owns.

import { ask, colour, find, h, keyed, number, percent, s, swatch, text } from "./dom.js";

const OUTER = 100, INNER = 77, SHARE_OUTER = 72, SHARE_INNER = 65;
const SLOW = matchMedia("(prefers-reduced-motion: reduce)");

const svg = find("ring"), legend = find("legend"), panel = find("arc");
const layers = Object.fromEntries(["arcs", "shares", "moves", "marks", "words"].map((name) => [name, s("g", { class: name })]));
svg.append(s("circle", { class: "track", r: (OUTER + INNER) / 2 }), ...Object.values(layers));
const middle = [s("text", { y: 3 }), s("text", { class: "small", y: 17 })];
layers.words.append(...middle);
const hint = panel.firstElementChild;

let ring = null; // as the server tells it
let ranges = []; // {start, end, owner}, in order
let shown = {}; // the shares as drawn, which follow those that hold
let tween = 0;
let chosen = null; // {owner, start, end}: start is null for all ranges of the owner
let pinned = null; // {key, owner, replicas, at}
let asked = 0;

const point = (fraction, radius) => {
  const angle = 2 * Math.PI * fraction - Math.PI / 2;
  return `${(radius * Math.cos(angle)).toFixed(3)} ${(radius * Math.sin(angle)).toFixed(3)}`;
};

function sector(start, end, inner, outer) {
  if (end - start > 0.99999) return sector(0, 0.5, inner, outer) + sector(0.5, 0.99998, inner, outer);
  const large = end - start > 0.5 ? 1 : 0;
  return `M${point(start, outer)}A${outer} ${outer} 0 ${large} 1 ${point(end, outer)}L${point(end, inner)}A${inner} ${inner} 0 ${large} 0 ${point(start, inner)}Z`;
}

function rangesOf(told) {
  return told.arcs.map(([start, owner], index) => ({
    start, end: index + 1 < told.arcs.length ? told.arcs[index + 1][0] : 1, owner: told.nodes[owner],
  }));
}

// The ranges whose owner differs, as {start, end, from, to}.
export function movedRanges(before, now) {
  const moved = [];
  let i = 0, j = 0, at = 0;
  while (at < 1 && i < before.length && j < now.length) {
    const end = Math.min(before[i].end, now[j].end);
    if (before[i].owner !== now[j].owner && end > at) moved.push({ start: at, end, from: before[i].owner, to: now[j].owner });
    if (before[i].end <= end) i += 1;
    if (now[j].end <= end) j += 1;
    at = end;
  }
  return moved;
}

export function showRing(told, onMoved) {
  const before = ring && ring.service === told.service ? ranges : null;
  const was = ring;
  ring = told;
  ranges = rangesOf(told);
  told.nodes.forEach(colour);
  drawArcs();
  if (before && was.version !== told.version) {
    const moved = movedRanges(before, ranges);
    animateMoves(moved);
    onMoved(told.service, moved);
  }
  drawShares(before !== null);
  showLegend();
  text(middle[0], told.nodes.length ? String(told.nodes.length) : "–");
  text(middle[1], told.nodes.length === 1 ? "node owns it all" : told.nodes.length ? "nodes own the keys" : "nobody offers it");
  svg.dataset.version = told.version;
  if (chosen) choose(chosen.owner, chosen.start);
  if (pinned) pin(pinned.key);
}

function drawArcs() {
  const paths = new Map(ring.nodes.map((name) => [name, []]));
  for (const { start, end, owner } of ranges) paths.get(owner).push(sector(start, end, INNER, OUTER));
  keyed(layers.arcs, ring.nodes, (name) => name, (name) => s("path", {
    class: "arcs", tabindex: 0, role: "button", "--node": colour(name),
    onclick: (event) => clicked(event, name), onkeydown: (event) => pressed(event, name),
  }), (path, name) => {
    path.style.fill = colour(name);
    path.setAttribute("d", paths.get(name).join(""));
    path.setAttribute("aria-label", `${name} owns ${percent(ring.share[name] || 0)} in ${paths.get(name).length} ranges`);
  });
}

function drawShares(slowly) {
  const target = ring.share, from = { ...shown }, began = performance.now(), run = ++tween;
  const names = [...new Set([...Object.keys(from), ...ring.nodes])].sort();
  const step = (now) => {
    if (run !== tween) return;
    const t = slowly && !SLOW.matches ? Math.min(1, (now - began) / 1100) : 1, eased = 1 - (1 - t) ** 3;
    shown = {};
    let at = 0;
    const parts = [];
    for (const name of names) {
      const share = (from[name] || 0) + ((target[name] || 0) - (from[name] || 0)) * eased;
      if (share > 0.0001) parts.push({ name, start: at, end: Math.min(1, at + share) });
      if (share > 0.0001) shown[name] = share;
      at += share;
    }
    keyed(layers.shares, parts, (part) => part.name, () => s("path", { class: "share" }), (path, part) => {
      path.style.fill = colour(part.name);
      path.setAttribute("d", sector(part.start, part.end, SHARE_INNER, SHARE_OUTER));
    });
    if (t < 1) requestAnimationFrame(step);
  };
  if (Object.keys(from).length) step(performance.now());
  else {
    shown = { ...target };
    step(began + 1e9);
  }
}

// What moved lifts off in the colour of its last owner, and fades: below it the ring is as it is now.
function animateMoves(moved) {
  const paths = new Map();
  for (const { start, end, from } of moved) paths.set(from, (paths.get(from) || "") + sector(start, end, INNER, OUTER));
  for (const [from, d] of paths) {
    const path = s("path", { class: "moving", d });
    path.style.fill = colour(from);
    path.addEventListener("animationend", () => path.remove());
    layers.moves.append(path);
  }
  svg.dataset.moved = moved.reduce((sum, each) => sum + each.end - each.start, 0).toFixed(4);
  svg.dataset.moves = Number(svg.dataset.moves || 0) + 1;
}

function showLegend() {
  const roles = new Map(pinned ? [...pinned.replicas.map((name, index) => [name, `replica ${index + 1}`]), [pinned.owner, "owner"]] : []);
  const names = [...ring.nodes].sort((a, b) => (roles.has(b) - roles.has(a)) || a.localeCompare(b));
  keyed(legend, names, (name) => name, (name) => h("li", {}, h("button", { type: "button", class: "quiet", onclick: () => choose(name, null) },
    swatch(name), h("span", {}, name), h("span", { class: "role" }), h("span", { class: "num" }))), (item, name) => {
    item.className = chosen && chosen.owner === name ? "on" : "";
    text(item.querySelector(".role"), roles.get(name) || "");
    text(item.querySelector(".num"), percent(ring.share[name] || 0));
  });
}

// ------------------------------------------------------------------------------------------------ choosing a range

function clicked(event, name) {
  const box = svg.getBoundingClientRect();
  const x = event.clientX - box.left - box.width / 2, y = event.clientY - box.top - box.height / 2;
  const fraction = ((Math.atan2(y, x) / (2 * Math.PI) + 0.25) % 1 + 1) % 1;
  const range = event.detail === 0 ? null : ranges.find((each) => each.start <= fraction && fraction < each.end);
  choose(name, range && range.owner === name ? range.start : null);
}

function pressed(event, name) {
  if (event.key === "Enter" || event.key === " ") choose(name, null);
  else if (event.key === "ArrowRight" || event.key === "ArrowDown") step(name, 1);
  else if (event.key === "ArrowLeft" || event.key === "ArrowUp") step(name, -1);
  else if (event.key === "Escape") clear();
  else return;
  event.preventDefault();
}

function step(name, by) {
  const own = ranges.filter((range) => range.owner === name);
  if (!own.length) return;
  const at = own.findIndex((range) => chosen && chosen.owner === name && range.start === chosen.start);
  choose(name, own[at < 0 ? (by > 0 ? 0 : own.length - 1) : (at + by + own.length) % own.length].start);
}

function clear() {
  chosen = null;
  svg.classList.remove("chosen");
  layers.marks.querySelectorAll(".range").forEach((each) => each.remove());
  panel.replaceChildren(hint);
  showLegend();
}

async function choose(name, start) {
  const own = ranges.filter((each) => each.owner === name);
  if (!own.length) return clear();
  const range = start === null ? null : own.find((each) => each.start <= start && start < each.end);
  chosen = { owner: name, start: range ? range.start : null };
  svg.classList.add("chosen");
  for (const path of layers.arcs.children) path.classList.toggle("on", path.dataset.key === name);
  layers.marks.querySelectorAll(".range").forEach((each) => each.remove());
  if (range) layers.marks.prepend(s("path", { class: "range", d: sector(range.start, range.end, INNER - 3, OUTER + 3) }));
  showLegend();
  const keys = h("ul", {}, h("li", {}, "keys called for: …"));
  panel.replaceChildren(
    h("h3", {}, swatch(name), name),
    h("p", {}, range
      ? `range ${own.indexOf(range) + 1} of ${own.length}: ${percent(range.start, 2)} to ${percent(range.end, 2)} of the circle, ${percent(range.end - range.start, 2)} of all keys`
      : `${percent(ring.share[name] || 0)} of all keys, in ${own.length} ranges`),
    keys,
    h("div", { class: "inline" },
      h("button", { type: "button", class: "quiet", "aria-label": "range before", onclick: () => step(name, -1) }, "‹"),
      h("button", { type: "button", class: "quiet", "aria-label": "next range", onclick: () => step(name, 1) }, "›"),
      range && h("button", { type: "button", class: "quiet", onclick: () => choose(name, null) }, "whole node"),
      h("button", { type: "button", class: "quiet", onclick: clear }, "close")),
  );
  await showKeys(keys, name, range);
}

async function showKeys(list, name, range) {
  const mine = ++asked;
  let lines;
  try {
    const told = await ask("/api/keys", { node: name, service: ring.service, start: range ? range.start : 0, end: range ? range.end : 1 });
    if (told.error) throw new Error(told.error);
    lines = [h("li", {}, h("span", {}, `${number(told.keys)} ${told.keys === 1 ? "key" : "keys"} called in a minute`), h("span", { class: "num" }, `${number(told.rate)}/s`))];
    for (const [key, rate] of told.busiest.slice(0, 5)) lines.push(h("li", {}, h("span", {}, key), h("span", { class: "num" }, `${number(rate)}/s`)));
  } catch (error) {
    lines = [h("li", { class: "bad" }, error.message)];
  }
  if (mine === asked) list.replaceChildren(...lines);
}

// -------------------------------------------------------------------------------------------------- finding a key

async function pin(key) {
  const found = find("found");
  layers.marks.querySelectorAll(".pin").forEach((each) => each.remove());
  if (!key || !ring) {
    pinned = null;
    text(found, "");
    if (ring) showLegend();
    return;
  }
  let told;
  try {
    told = await ask("/api/lookup", { key, service: ring.service });
  } catch (error) {
    pinned = null;
    text(found, error.message);
    return;
  }
  if (find("key").value !== key) return; // typed on meanwhile
  pinned = { ...told, key };
  layers.marks.querySelectorAll(".pin").forEach((each) => each.remove());
  const [x1, y1] = point(told.at, SHARE_INNER - 8).split(" "), [x2, y2] = point(told.at, OUTER + 7).split(" ");
  const marks = [s("line", { x1, y1, x2, y2 }), s("circle", { class: "head-dot", cx: x2, cy: y2, r: 4 })];
  for (const name of told.replicas) {
    const place = follow(told.at, name);
    if (!place) continue;
    const [cx, cy] = point((place.start + place.end) / 2, SHARE_INNER - 4 - 7 * marks.length / 2).split(" ");
    const dot = s("circle", { cx, cy, r: 3.2 });
    dot.style.fill = colour(name);
    marks.push(dot);
  }
  layers.marks.append(s("g", { class: "pin" }, ...marks));
  found.replaceChildren(swatch(told.owner), " ", h("b", {}, told.owner), " owns it",
    told.replicas.length ? `, then ${told.replicas.join(" and ")}` : ", nobody else could");
  showLegend();
}

// The next range of that node, clockwise.
function follow(at, name) {
  const own = ranges.filter((range) => range.owner === name);
  return own.find((range) => range.start > at) || own[0];
}

find("find").addEventListener("submit", (event) => event.preventDefault());
find("find").addEventListener("reset", () => pin(""));
find("key").addEventListener("input", (event) => pin(event.target.value));
