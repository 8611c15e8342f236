import { randomUUID } from "../client/platform.js";

const KEY = "pubsub-chat-user";

/** Who one is here: a chosen name with a key of its own, or one that was made up and is kept. */
export function ownName() {
  const asked = new URLSearchParams(location.search).get("user");
  if (asked) return { name: asked };
  const kept = JSON.parse(localStorage.getItem(KEY) ?? "null");
  return kept ?? keep({ name: `user_${randomUUID().slice(0, 8)}` });
}

/** Takes another name. The key tells one apart from others who take it. */
export function chooseName(name) {
  return keep({ name, key: ownName().key ?? randomUUID() });
}

/** The server's address with who one is. */
export function addressOf({ name, key }) {
  const url = new URL(location.origin);
  url.searchParams.set("user", name);
  if (key) url.searchParams.set("key", key);
  return url;
}

function keep(user) {
  localStorage.setItem(KEY, JSON.stringify(user));
  return user;
}
