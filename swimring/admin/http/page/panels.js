// Members, traffic, moves, round trips, running calls and the time-line.

import { ask, bytes, clock, colour, find, h, keyed, number, percent, s, seconds, swatch, text } from "./dom.js";

const body = (id) => find(id).querySelector("tbody");
const cell = (label, kind) => h("td", { "data-label": label, class: kind });

// ------------------------------------------------------------------------------------------------------- members

const ORDER = { alive: 0, suspect: 1, dead: 2, left: 3 };

export function showMembers(members, cluster, shares, onOrder) {
  const told = new Map((cluster ? cluster.nodes : []).map((node) => [node.name, node]));
  const rates = new Map();
  for (const handler of cluster ? cluster.handlers : [])
    for (const [name, rate] of Object.entries(handler.on)) rates.set(name, (rates.get(name) || 0) + rate);
  const rows = [...members].sort((a, b) => (ORDER[a.status] > 1) - (ORDER[b.status] > 1) || a.name.localeCompare(b.name));
  keyed(body("members"), rows, (member) => member.name, (member) => memberRow(member, onOrder), (row, member) => {
    const here = ORDER[member.status] < 2, [state, share, incarnation, lag, rate, streams] = row.querySelectorAll("td");
    const node = told.get(member.name) || {};
    row.className = here ? "" : "gone";
    const [place, version] = row.querySelectorAll("small");
    text(place, [member.address, member.zone].filter(Boolean).join(" · "));
    text(version, node.version ? `version ${node.version}` : "");
    showState(state, member.status, here && member.takes !== "all" ? (member.weight ? member.takes : "no keys") : "");
    text(share, here ? percent(shares[member.name] || 0) : "–");
    text(incarnation, String(member.incarnation));
    const late = node.lag ?? member.lag;
    text(lag, here ? seconds(late) : "–");
    lag.className = late > 1 ? "num bad" : late > 0.1 ? "num warn" : "num";
    text(rate, here ? number(rates.get(member.name) || 0) : "–");
    const open = here && node.streams !== undefined;
    text(streams, open ? (node.blocked ? `${number(node.blocked)} of ${number(node.streams)} wait` : number(node.streams)) : "–");
    streams.className = open && node.blocked ? "num wraps warn" : "num wraps";
    streams.title = open && node.blocked ? "a stream waits until its reader has read what was sent" : "";
    showOrders(row.lastElementChild, member, here);
    row.title = here && node.error ? `it does not tell how it is: ${node.error}` : "";
  });
  const suspicions = new Map();
  for (const node of told.values())
    for (const each of node.suspicions || []) {
      const known = suspicions.get(each.suspect);
      if (!known || each.left < known.left) suspicions.set(each.suspect, { ...each, by: node.name });
    }
  keyed(find("suspicions"), [...suspicions.values()], (each) => each.suspect, () => h("p"), (line, each) =>
    text(line, `${each.suspect} is suspected by ${each.accusers.join(", ")}: ${each.left.toFixed(1)} s left to speak up, says ${each.by}`));
}

function memberRow(member, onOrder) {
  const order = (name) => h("button", { type: "button", class: "quiet", "data-order": name, "aria-label": `${name} ${member.name}`, onclick: () => onOrder(name, member.name) }, name);
  return h("tr", {}, h("th", { scope: "row" }, h("span", { class: "who" }, swatch(member.name), h("span", {}, member.name, h("small"), h("small")))),
    cell("State"), cell("Share", "num"), cell("Inc.", "num"), cell("Lag", "num"), cell("Calls/s", "num"), cell("Streams", "num wraps"),
    h("td", { class: "orders" }, order("drain"), order("cordon"), order("uncordon"), order("evict")));
}

function showState(element, status, takes) {
  const state = `${status} ${takes}`;
  if (element.dataset.state === state) return;
  element.dataset.state = state;
  element.replaceChildren(h("span", { class: "states" }, h("span", { class: `state ${status}` }, status), takes && h("span", { class: `state ${takes}` }, takes)));
}

function showOrders(element, member, here) {
  const may = { drain: here && member.takes !== "draining", cordon: here && !["cordoned", "draining"].includes(member.takes), uncordon: here && member.takes === "cordoned", evict: here };
  for (const button of element.children) button.hidden = !may[button.dataset.order];
}

// ------------------------------------------------------------------------------------------------------- traffic

export function showTraffic(cluster) {
  find("traffic-empty").hidden = cluster.handlers.length > 0;
  find("traffic").hidden = cluster.handlers.length === 0;
  keyed(body("traffic"), cluster.handlers, (one) => `${one.ns}\n${one.cmd}`, (one) => h("tr", {},
    h("th", { scope: "row" }, h("span", {}, one.ns, " ", h("b", {}, one.cmd))),
    cell("Calls/s", "num"), cell("Minute"), cell("p50", "num"), cell("p99", "num"), cell("Errors", "num"), cell("Retries", "num"), cell("Cancelled", "num"), cell("Where")), (row, one) => {
    const [rate, minute, p50, p99, errors, retries, cancelled, where] = row.querySelectorAll("td");
    text(rate, number(one.rate));
    minute.replaceChildren(spark(one.history));
    text(p50, seconds(one.p50));
    text(p99, seconds(one.p99));
    text(errors, number(one.failed));
    errors.className = one.failed ? "num bad" : "num";
    text(retries, number(one.retried));
    text(cancelled, number(one.cancelled));
    where.replaceChildren(bars(one.on));
  });
}

function spark(history) {
  const past = history.slice(0, -1), most = Math.max(1, ...past), wide = 84 / Math.max(1, past.length - 1);
  const line = past.map((count, index) => `${(index * wide).toFixed(1)} ${(22 - 20 * count / most).toFixed(1)}`).join("L");
  return s("svg", { class: "spark", viewBox: "0 0 84 24", role: "img", "aria-label": `calls in each of the last ${past.length} times 5 s: ${past.join(", ")}` },
    s("path", { class: "area", d: `M0 24L${line}L84 24Z` }), s("path", { d: `M${line}` }));
}

function bars(on) {
  const names = Object.keys(on).sort(), total = names.reduce((sum, name) => sum + on[name], 0);
  const words = names.map((name) => `${name} ${number(on[name])}/s`).join(", ");
  const parts = total > 0 ? names.map((name) => h("i", { "--node": colour(name) })) : [];
  parts.forEach((part, index) => { part.style.flexGrow = on[names[index]]; });
  return h("span", { class: "bars", role: "img", "aria-label": words, title: words }, ...parts);
}

// --------------------------------------------------------------------------------------------------------- moves

const MOST_MOVES = 12;

export function noteMoves(service, moved) {
  if (!moved.length) return;
  const pairs = new Map();
  for (const { start, end, from, to } of moved) {
    const key = JSON.stringify([from, to]);
    pairs.set(key, (pairs.get(key) || 0) + end - start);
  }
  const total = moved.reduce((sum, each) => sum + each.end - each.start, 0);
  const told = [...pairs].sort((a, b) => b[1] - a[1]).slice(0, 6).map(([key, share]) => {
    const [from, to] = JSON.parse(key);
    return h("span", { class: "pair" }, swatch(from), from, " → ", swatch(to), to, h("span", { class: "note" }, percent(share)));
  });
  if (pairs.size > told.length) told.push(h("span", { class: "note" }, `and ${pairs.size - told.length} more`));
  const list = find("moves");
  list.prepend(h("li", {}, clock(Date.now()), h("b", {}, percent(total), " of ", service), ...told));
  while (list.children.length > MOST_MOVES) list.lastElementChild.remove();
  find("moves-empty").hidden = true;
}

export function showOwnership(cluster, members) {
  const draining = new Set(members.filter((member) => member.takes === "draining" && ORDER[member.status] < 2).map((member) => member.name));
  const busy = cluster.nodes.filter((node) => draining.has(node.name) || (node.hand_off || {}).left > 0);
  keyed(find("hand-offs"), busy, (node) => node.name, (node) => h("div", {}, h("p", {}, swatch(node.name), " ", h("b", {}, node.name), " ", h("span")), h("progress", { "aria-label": `hand-off of ${node.name}` })), (row, node) => {
    const { total = 0, left = 0 } = node.hand_off || {}, bar = row.querySelector("progress");
    text(row.querySelector("p > span:last-child"), total ? `hands over: ${number(left)} of ${number(total)} keys left` : "drains; it has no keys with state");
    bar.max = total || 1;
    bar.value = total - left;
    bar.hidden = total === 0;
  });
  const holding = cluster.nodes.filter((node) => node.ownership && (node.ownership.scopes || node.ownership.copies || node.ownership.tracked));
  find("held").hidden = holding.length === 0;
  keyed(body("held"), holding, (node) => node.name, (node) => h("tr", {}, h("th", { scope: "row" }, h("span", { class: "who" }, swatch(node.name), node.name)),
    cell("Open", "num"), cell("Copies", "num"), cell("Size", "num"), cell("To bring", "num"), keyCell("Open keys"), keyCell("Tracked keys")), (row, node) => {
    const [open, copies, size, left, keys, tracked] = row.querySelectorAll("td"), told = node.ownership;
    text(open, number(told.scopes));
    text(copies, number(told.copies));
    text(size, bytes(told.copy_bytes));
    text(left, number(told.keys_left));
    showKeys(keys, told.open, told.scopes);
    showKeys(tracked, told.tracking || [], told.tracked);
  });
}

const keyCell = (label) => h("td", { "data-label": label, class: "full" }, h("details", {}, h("summary"), h("ul")));

function showKeys(place, keys, total) {
  place.firstElementChild.hidden = keys.length === 0;
  text(place.querySelector("summary"), keys.length < total ? `${keys.length} of ${total}` : `all ${total}`);
  keyed(place.querySelector("ul"), keys, (one) => one.join("\n"), ([service, key]) => h("li", {}, service, " ", h("b", {}, key)), () => {});
}

// --------------------------------------------------------------------------------------------------- round trips

export function showTrips(cluster) {
  const names = cluster.nodes.filter((node) => node.trips).map((node) => node.name).sort();
  const told = new Map(cluster.nodes.map((node) => [node.name, node.trips || {}]));
  const known = names.flatMap((from) => Object.values(told.get(from))).filter((value) => value !== null);
  find("trips-empty").hidden = known.length > 0;
  find("trips").hidden = known.length === 0;
  if (!known.length) return;
  const low = Math.log(Math.min(...known)), high = Math.max(Math.log(Math.max(...known)), low + Math.log(4));
  const heat = (value) => ((Math.log(value) - low) / (high - low)).toFixed(3);
  const rows = names.map((from) => h("tr", {}, h("th", { scope: "row" }, h("span", { class: "who" }, swatch(from), from)), ...names.map((to) => {
    const value = told.get(from)[to];
    if (from === to || value === undefined) return h("td", { class: "none" }, from === to ? "" : "–");
    if (value === null) return h("td", { class: "failed", title: `${from} does not reach ${to}` }, "✕");
    return h("td", { "--hot": heat(value), title: `${from} to ${to}: ${seconds(value)}` }, (value * 1e3).toFixed(value < 0.01 ? 2 : value < 0.1 ? 1 : 0));
  })));
  find("trips").replaceChildren(
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "from"), ...names.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, ...rows));
}

// ------------------------------------------------------------------------------------------------- running calls

async function showRunning() {
  const key = find("run-key").value, list = find("running");
  let nodes;
  try {
    nodes = await ask("/api/running", key ? { key } : {});
  } catch (error) {
    list.replaceChildren(h("p", { class: "bad" }, error.message));
    return;
  }
  const calls = nodes.flatMap((node) => (node.running || []).map((call) => runningCall(node.name, call)));
  const silent = nodes.filter((node) => node.error).map((node) => h("p", { class: "bad" }, `${node.name}: ${node.error}`));
  const none = h("p", { class: "empty" }, key ? "Nobody runs for this key now." : "No handler runs now.");
  list.replaceChildren(...(calls.length ? calls : [none]), ...silent);
}

function runningCall(node, call) {
  const stack = (lines) => lines.map((line) => h("div", {}, h("code", {}, line)));
  const child = (each) => {
    const box = h("div", { class: "stack" }, h("code", {}, each.name.split(".").pop()), ...stack(each.where));
    box.style.marginLeft = `${16 * each.depth}px`;
    return box;
  };
  return h("div", { class: "call" },
    h("p", {}, h("span", { class: "pair" }, swatch(node), h("b", {}, node)), h("span", {}, call.ns, " ", h("b", {}, call.cmd)), call.key !== null && h("span", {}, "key ", h("b", {}, call.key)),
      h("span", {}, `since ${seconds(call.since)}`), h("span", { class: call.left !== null && call.left < 1 ? "warn" : "" }, call.left === null ? "no deadline" : `${seconds(Math.max(0, call.left))} left`), h("span", { class: "note" }, `for ${call.peer}`)),
    h("div", { class: "stack" }, ...stack(call.where)), ...call.children.map(child));
}

find("run").addEventListener("submit", (event) => {
  event.preventDefault();
  showRunning();
});

// ----------------------------------------------------------------------------------------------------- time-line

const MOST_ENTRIES = 300;
const OF_KEYS = new Set(["ring", "gained", "lost", "share"]);
let entries = [];

export function addEntries(news, first) {
  const last = entries.length ? entries[0].number : 0;
  entries = [...news.filter((entry) => entry.number > last).reverse(), ...entries].slice(0, MOST_ENTRIES);
  drawEntries(first ? Infinity : last);
}

export const lastEntry = () => (entries.length ? entries[0].number : null);
export const forgetEntries = () => { entries = []; };

function drawEntries(seen) {
  const kind = find("kinds").value;
  const shown = entries.filter((entry) => !kind || OF_KEYS.has(entry.kind) === (kind === "keys"));
  keyed(find("timeline"), shown, (entry) => String(entry.number), (entry) => h("li", { class: entry.number > seen ? "new" : "" },
    clock(entry.at), h("span", { class: `kind ${entry.kind}` }, entry.kind), h("span", {}, entry.text)), () => {});
}

find("kinds").addEventListener("change", () => drawEntries(Infinity));
