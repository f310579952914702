// The page: listens to the node that serves it and hands what it hears to the parts.

import { find, h, number, seconds, text } from "./dom.js";
import { order } from "./orders.js";
import { addEntries, forgetEntries, lastEntry, noteMoves, showMembers, showOwnership, showTraffic, showTrips } from "./panels.js";
import { showRing } from "./ring.js";

const AGAIN_AFTER = 1000, AGAIN_AT_MOST = 8000;

const state = { members: [], cluster: null, shares: {}, service: new URLSearchParams(location.search).get("service"), life: null };
let source = null, pause = AGAIN_AFTER, first = true;

function listen() {
  const query = new URLSearchParams();
  if (state.service) query.set("service", state.service);
  if (lastEntry() !== null) query.set("since", lastEntry());
  if (source) source.close();
  source = new EventSource(`/api/events?${query}`);
  for (const [name, hear] of Object.entries(heard)) source.addEventListener(name, (event) => hear(JSON.parse(event.data)));
  source.onerror = () => {
    source.close();
    link("lost", "connection lost, trying again");
    setTimeout(listen, pause);
    pause = Math.min(2 * pause, AGAIN_AT_MOST);
  };
}

const heard = {
  hello(told) {
    pause = AGAIN_AFTER;
    if (state.life !== null && state.life !== told.life) forgetEntries();
    state.life = told.life;
    link("live", "live");
    document.title = `${told.cluster} · swimring`;
    text(find("cluster"), told.cluster);
    text(find("seen-by"), `as ${told.name} sees it`);
    text(find("version"), `swimring ${told.version}. ${told.writable ? "Orders need the token of this admin port." : "This page only tells; orders need --admin-write."}`);
    document.body.classList.toggle("writable", told.writable);
  },
  members(told) {
    state.members = told;
    drawMembers();
  },
  ring(told) {
    state.service = told.service;
    state.shares = told.share;
    showServices(told);
    showRing(told, noteMoves);
    drawMembers();
  },
  cluster(told) {
    state.cluster = told;
    showTraffic(told);
    showTrips(told);
    showOwnership(told, state.members);
    drawMembers();
    drawTiles();
  },
  timeline(told) {
    addEntries(told, first);
    first = false;
  },
};

function link(kind, words) {
  find("link").dataset.state = kind;
  text(find("link"), words);
}

function drawMembers() {
  showMembers(state.members, state.cluster, state.shares, order);
  const count = (status) => state.members.filter((member) => member.status === status).length;
  const [alive, suspect, dead] = [count("alive"), count("suspect"), count("dead")];
  tile("members", String(alive + suspect), suspect ? "warn" : "");
  text(find("tile-members-more"), [suspect && `${suspect} suspect`, dead && `${dead} dead`].filter(Boolean).join(", ") || "all alive");
}

function drawTiles() {
  const { handlers, nodes, unasked } = state.cluster, sum = (field) => handlers.reduce((total, one) => total + one[field], 0);
  tile("rate", number(sum("rate")));
  text(find("tile-rate-more"), unasked ? `of ${nodes.length} nodes; ${unasked} not asked` : `${number(nodes.reduce((total, node) => total + (node.handling || 0), 0))} under way`);
  const slow = handlers.map((one) => one.p99).filter((value) => value !== null);
  tile("p99", slow.length ? seconds(Math.max(...slow)) : "–");
  tile("errors", number(sum("failed")), sum("failed") ? "bad" : "");
  const lags = nodes.filter((node) => node.lag !== undefined), late = lags.reduce((worst, node) => (node.lag > worst.lag ? node : worst), { lag: 0, name: "" });
  tile("lag", seconds(late.lag), late.lag > 1 ? "bad" : late.lag > 0.1 ? "warn" : "");
  text(find("tile-lag-more"), late.name ? `of ${late.name}` : "event-loop delay");
  const views = new Set(nodes.filter((node) => node.ring_version !== undefined).map((node) => node.ring_version));
  tile("views", views.size > 1 ? `${views.size} differ` : "agree", views.size > 1 ? "warn" : "");
  const silent = nodes.filter((node) => node.error).length;
  text(find("tile-views-more"), silent ? `${silent} of ${nodes.length} nodes do not answer` : `${nodes.length} ${nodes.length === 1 ? "node" : "nodes"} asked`);
}

function tile(name, words, kind = "") {
  text(find(`tile-${name}`), words);
  find(`tile-${name}`).className = kind;
}

// ------------------------------------------------------------------------------------------------------- choices

function showServices(told) {
  const choice = find("service");
  find("service-label").hidden = told.services.length < 2;
  choice.replaceChildren(...told.services.map((name) => h("option", { value: name, selected: name === told.service }, name)));
}

find("service").addEventListener("change", (event) => {
  state.service = event.target.value;
  listen();
});

const THEMES = ["system", "light", "dark"];
function theme(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  text(find("theme-name"), name);
}
let chosen = localStorage.getItem("swimring-theme");
if (!THEMES.includes(chosen)) chosen = "system";
theme(chosen);
find("theme").addEventListener("click", () => {
  chosen = THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length];
  localStorage.setItem("swimring-theme", chosen);
  theme(chosen);
});

listen();
