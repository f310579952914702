// Orders to nodes, after a question. The token is kept until the page is closed, and nowhere else.

import { find, text } from "./dom.js";

const dialog = find("order"), token = find("token"), button = find("order-do"), failure = find("order-error");
const MEANS = {
  drain: "hands its keys to the other nodes, then leaves the cluster and ends. Calls are not lost.",
  cordon: "takes no keys any more and stays. Undo it with uncordon.",
  uncordon: "takes its keys again.",
  evict: "is declared dead for all, although it may answer. What it has not handed over is lost. Restart it to bring it back.",
};

let meant = null;

export function order(name, node) {
  meant = { name, node };
  text(find("order-title"), `${name} ${node}?`);
  text(find("order-text"), `${node} ${MEANS[name]}`);
  text(failure, "");
  text(button, name);
  button.className = name === "uncordon" ? "" : "danger";
  button.disabled = false;
  dialog.showModal();
  (token.value ? button : token).focus();
}

async function send() {
  button.disabled = true;
  text(failure, "");
  try {
    const response = await fetch(`/api/orders/${meant.name}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${token.value.trim()}` },
      body: JSON.stringify({ node: meant.node }),
    });
    if (response.ok) dialog.close();
    else text(failure, (await response.json()).error);
  } catch (error) {
    text(failure, error instanceof TypeError ? "This node cannot be reached, or the token holds other than ASCII." : error.message);
  }
  button.disabled = false;
}

button.addEventListener("click", send);
token.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  send();
});
