import { byId, setText } from "./dom.js";
import { say } from "./language.js";

/** Shows whether the client is connected, and lets the reader hurry it. */
export function showConnection(client) {
  const place = byId("connection");
  const retry = byId("connection-retry");
  const show = (state) => {
    place.dataset.state = state.name;
    setText(byId("connection-text"), describe(state));
    place.title = state.error?.message ?? "";
    retry.hidden = state.name !== "reconnecting";
  };
  client.on("state", show);
  retry.onclick = () => client.reconnect();
  addEventListener("online", () => {
    if (client.state.name === "reconnecting") client.reconnect();
  });
  show(client.state);
}

function describe({ name, attempt, delay }) {
  if (name === "connecting") return say("Connecting…");
  if (name === "connected") return say("Connected");
  if (name === "paused") return say("Signed out");
  if (name === "closed") return say("Disconnected");
  const seconds = Math.max(1, Math.ceil(delay / 1000));
  return say("Disconnected. Attempt {attempt} in {seconds} s", { attempt, seconds });
}
